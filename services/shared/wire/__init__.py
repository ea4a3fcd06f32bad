"""Bytes that cross between processes and lie on disks: log records with their checksums, fields written by hand.

Contents of updates come in, frames leave; frames come back, and contents leave whose checksums are right. Kernels write
fields themselves (`services/treenode/reports/encode/cells.py`), since they can't call Python.
"""
