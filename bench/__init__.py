"""Programs that measure a cluster or the tree engine; each prints one JSON line last."""
