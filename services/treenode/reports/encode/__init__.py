"""Copied rows as bytes: `Member` messages and Arrow streams, without a Python object a row."""
