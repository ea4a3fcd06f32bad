"""Several pushers, a coordinator and one log in virtual time: the real cores of both sides over a model of each store.

A seed goes in; a story comes out, or the promise that it broke. Smaller than the clusters of `tests/simulator`, which
have one pusher and nodes: here pushers die, stand still, are cut off from the log or the coordinator, and believe what
is over.
"""
