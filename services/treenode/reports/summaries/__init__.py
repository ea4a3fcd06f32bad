"""Members and volume of a downline by level, status, rank and kind, in one pass over the tree's own columns.

An extent and a filter enter, while the gate keeps the tree still. A SummarizeDownlineResponse without its as_of leaves.
"""
