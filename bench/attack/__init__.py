"""Hostile requests, connections and files against a live cluster: `make attack`."""
