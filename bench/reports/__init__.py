"""Reports of one node, side by side with an empty handler."""
