"""The months that are closed for good: their states are kept in files, and answer reports for years.

Just before a record closes a period, the tree has all of its volumes, late orders among them: that state is written by
a forked child, while updates go on. A node that was away then makes it anew from a snapshot and the log, or fetches it
from a peer. What is to be done is decided by `keeping.py`, and done by `runner.py`. Requests that name a closed period
enter by `calls.py`; `opened.py` maps the files that they need.
"""
