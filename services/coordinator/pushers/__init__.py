"""Which of several pushers is active: leases of pushers, elections among them with an epoch that only grows.

In come pushers' heartbeats and an operator's wish; out go answers, and the record of each election before anybody is
told. What keeps a pusher from writing that was active before is the log itself (`services/pusher/log/store.py`), which
goes by the epoch; nothing here hangs on a clock.
"""
