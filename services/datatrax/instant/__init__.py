"""The local instant port: a program that knows no gRPC sends a line and reads a line.

In comes a JSON object a line (the form of `fasttree push`), or a fixed-width record where a layout is set. Out goes one
line for each, in the order of those that came: its receipt, in the same form. `lines.py` knows both forms, `port.py`
the connections.
"""
