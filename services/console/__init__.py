"""The console: the cluster in a browser, for operators, and the tree for leaders.

It speaks the public API alone, through the Python client and as a principal of its own, so nothing here knows another
service. It keeps nothing: what its pages show of the past is what it has seen since it started.
"""
