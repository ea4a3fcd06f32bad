"""One look at the cluster for all browsers: what it is now, what it was a while ago, and who is told."""
