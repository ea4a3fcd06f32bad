"""The spool: a file of updates that is dropped into a folder is pushed, each line once, and its receipts lie beside it.

In comes a folder that programs write into (`folder.py` watches it; when a file is due says
`services/shared/files/arrivals.py`). What form a file has says its name (`forms.py`). Each update goes to the pusher
under an id of its own, a field or its place in the file, so that a file that was begun is simply pushed again
(`taking.py`).
"""
