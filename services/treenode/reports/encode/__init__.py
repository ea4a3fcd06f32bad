"""Rows as bytes, without a Python object a row: Member messages, or an Arrow stream.

Copied rows and a choice enter; or a tree and an id, for a single member. The bytes of an answer's field, or the
messages of a stream, leave.
"""
