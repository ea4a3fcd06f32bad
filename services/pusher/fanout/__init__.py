"""How far each node is, and what it is sent next: the log streamed to every node.

In come the nodes of the cluster and what they confirm; out go batches of records, each node's from its own position.
"""
