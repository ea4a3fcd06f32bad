"""Rows in order: the first k of many, past a point; which is a sorted page, or a top N.

Rows by their keys enter, copied or in place. The chosen ones leave, with the key of the last where more follow.
"""
