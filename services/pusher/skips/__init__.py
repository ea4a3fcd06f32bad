"""Updates that an operator decides to skip: whether one may be, and the decision as a log record.

In comes the operator's word on one position; out go a record of the log, and the decisions that every node hears with
the hello (`services/treenode/tree/skips.py` says what a node makes of them).
"""
