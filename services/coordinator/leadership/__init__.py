"""Which of several coordinators is active: a lease in the API server or in etcd, held by one at a time.

In come the lease as it is read, and what became of writes; out go reads, writes, and whether this one acts. The record
of the election lies in the same object (`stores/lease.py`), so what fences the one fences the other.
"""
