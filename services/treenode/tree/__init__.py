"""The tree engine: two trees over the same members, as columns, without I/O."""
