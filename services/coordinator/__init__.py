"""Tracks node leases and elects the primary."""
