"""Who is primary: the election core, its parts, and the shell that performs its actions.

In come heartbeats, wishes of operators and time; out go leases, epochs, and records that must be durable first.
"""
