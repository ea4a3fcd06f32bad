"""A log moved from one engine to another, while it is written; then, in one short step, for good.

In come a pusher's folder and an empty place elsewhere; out comes the same log there: positions, ids, rules, imports and
epochs.
`moving.py` has the order of the steps, and why none of them can lose an update.
"""
