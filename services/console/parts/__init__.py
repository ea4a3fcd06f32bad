"""Logs and audit logs of the cluster's parts, on whichever machines they are, by their own HTTP ports. In comes a
part's name, out goes what it shows of itself; one that is away is said to be, and nobody waits for it.
"""
