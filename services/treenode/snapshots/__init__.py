"""A node's state on its own disk, and on its peers': written while updates go on, checked, read at the start."""
