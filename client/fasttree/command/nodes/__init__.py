"""The nodes of a cluster: which there are, one more, one less."""
