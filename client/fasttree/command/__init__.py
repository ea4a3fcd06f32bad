"""The `fasttree` command: a cluster on this machine, and everything an operator does with one anywhere."""
