"""Streams under way: how many there may be, and what becomes of one whose client takes nothing.

What begins a stream enters. Its messages leave, one being encoded while the one before it is sent.
"""
