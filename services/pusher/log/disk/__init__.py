"""What the log's SQLite file needs around it: its tables, its checkpoints, and the mark beside it of what was promised.

`services/pusher/log/sqlite.py` is made of this; nothing else of the pusher knows it.
"""
