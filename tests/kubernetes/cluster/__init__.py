"""A whole Kubernetes on this machine: a control plane, and nodes that run pods, in namespaces of its own.

    python -m tests.kubernetes.cluster start --nodes 2 --image dist/fasttree-0.1.0.oci.tar
    python -m tests.kubernetes.cluster exec kubectl get pods --all-namespaces
    python -m tests.kubernetes.cluster stop

Nothing of it is in the machine's network: pods, Services and the API are reached from inside, so whatever is to speak
to them is run by `exec`. Its first process is the first of a process namespace: when that ends, however it ends, all
pods, mounts and interfaces go with it. It needs root, and runs one at a time.
"""
