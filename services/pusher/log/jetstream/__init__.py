"""The log in NATS JetStream, for what has to survive the loss of a machine: one stream of three replicas.

In come the same calls as to every store of the log; out go messages, each behind the one that this process believes to
be the last. `messages.py` has what is in one, `contents.py` what a log is by its messages, `writing.py` how a write is
made sure of, `store.py` the store itself; nothing else of the pusher knows it.
"""
