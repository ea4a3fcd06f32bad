"""The nodes' digests, compared all the time: two nodes at one (import, position) hold the same, or somebody is told.

In comes where the nodes stand; out go questions for digests, and which nodes differ. Nothing is healed here.
"""
