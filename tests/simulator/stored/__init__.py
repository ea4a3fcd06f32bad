"""Stored snapshots in the simulator: the product's own code (`services/treenode/snapshots/stored`,
`services/shared/objects/parts.py`, `services/shared/files/downloads.py`) over a model of an object store.

That code is asyncio's, so it runs in an event loop of virtual time. Half of the seeds have a store; its chance is its
own, so that the others' stories are what they are without it.
"""
