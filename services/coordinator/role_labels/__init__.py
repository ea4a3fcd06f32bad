"""Roles as labels of pods: `fasttree.io/role` says of each node's pod whether it is primary, of each coordinator's
whether it is active, so that a Service selects by it and `kubectl get pods -L fasttree.io/role` shows it.

In come the pods as they are and the roles as they should be; out go patches.
"""
