"""Chaos on real processes: `make chaos SECONDS=60`."""
