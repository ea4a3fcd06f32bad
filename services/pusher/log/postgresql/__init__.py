"""The log in a PostgreSQL server (15 or newer), for what has to survive the loss of a machine.

In come the same calls as to every store of the log; out go transactions, each under the fence's row. `tables.py` has
the tables, `writing.py` how a write is made sure of, `store.py` the store itself; nothing else of the pusher knows it.
"""
