"""What sealing costs: the same cluster with keys and without, and the same state to and from a disk both ways."""
