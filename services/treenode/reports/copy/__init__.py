"""Rows out of the tree at one position, by a gate that lets updates and copies take turns."""
