"""`fasttree status`: how the cluster stands, once or again and again, for people and as JSON."""
