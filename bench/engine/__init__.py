"""The engine alone: a genealogy to measure on, a mix of updates, and the tree under both."""
