"""One pusher of several: stands by, claims the log when the coordinator makes it active, and steps down.

In come the coordinator's answers and what became of a claim; out go claims, and whether this process takes pushes. What
it must not write any more it can't: the log compares the newest claim in the transaction of each write.
"""
