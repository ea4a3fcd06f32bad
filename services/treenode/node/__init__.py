"""One node as a whole: its life cycle, its role, the order of its records, and the tree that it serves from.

In come events (a heartbeat's answer, records, a tree that stands); out go health, heartbeats, and refusals.
"""
