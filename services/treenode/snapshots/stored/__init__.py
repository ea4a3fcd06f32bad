"""Snapshots where they outlive every node: in a folder that all nodes see, or a bucket of an S3-compatible store.

What for: a node that can't go on by the log alone (an empty one in a cluster with an import, or one that the log was
trimmed past) takes a peer's snapshot. Where no peer has one (every disk was lost, or all pods are new), it starts from
the newest good one that is stored here, and follows the log from there. A snapshot is found by the node's own settings
and its own log's id; nothing of a request leads here.

| who | does what |
|---|---|
| one node at a time (`turns.py`) | puts its newest here, where nobody put one of that position; removes older ones |
| every node (`keeping.py`) | looks now and then which one is the newest, and says so in its status |
| one that needs a base (`services/treenode/node/search.py`) | asks its peers, then takes the newest that is good |

What is damaged, cut short or of another log is passed over for the next older one, with a line in the node's log.
How a file lies in objects is told in `services/shared/objects`; a snapshot's key is in `objects.py`.
"""
