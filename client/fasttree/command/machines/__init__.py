"""Several machines on this one, each an address of loopback with a coordinator, a node and a pusher.

`fasttree up --machines 3` starts them, by `plan.py`, over a PostgreSQL server, which keeps what no machine may lose.
`fasttree machine` asks for one to be lost, frozen or given back, by a file in the cluster's folder (`asking.py`); the
cluster does it (`keeping.py`).
"""
