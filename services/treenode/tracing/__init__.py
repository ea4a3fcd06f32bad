"""Updates and imports as traces, on a node: what came with a context, and when it was in the tree.

What comes in is what the node does anyway; what leaves are spans. Nothing here decides anything, and nobody waits for
it.
"""
