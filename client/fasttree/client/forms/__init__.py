"""Amounts and updates as people and files write them, and as messages hold them.

In come texts, out come messages and numbers, and the other way round; what can't be read raises an UpdateFormatError.
"""
