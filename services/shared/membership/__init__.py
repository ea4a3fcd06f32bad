"""Which nodes a cluster has, wherever they are listed: a host file, or a headless Service of Kubernetes.

Out come `Host`s in order of preference, now and at each change; a list that can't be read leaves the one before in
force. Who is alive, and what a node says of itself, is no matter of a list.
"""
