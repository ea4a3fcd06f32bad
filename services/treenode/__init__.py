"""Holds the tree, applies updates in order, answers reports."""
