"""Updates and imports as traces: from a push to its log record and to each node; from a file to the swap on every node.

What comes in is what the others of the pusher do anyway; what leaves are spans, and the contexts that go on with a
record or a call. Nothing here decides anything, and nobody waits for it.
"""
