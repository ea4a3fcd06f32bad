"""The start of a cluster on this machine: how many of each part, the wait until each is ready, whether it takes pushes.

In come the cluster's plan and what its processes wrote; out come counts, and lines for people.
"""
