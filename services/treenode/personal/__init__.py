"""A node's copy of the vault: it follows the pusher's, and reports find values in it by their tokens.

The pusher's changes enter, values leave for whoever has the right. The tree knows tokens alone, so the copy is no part
of the node's state, of its digest, nor of its snapshots.
"""
