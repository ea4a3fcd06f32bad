"""Bytes that cross between processes and lie on disks: log records with their checksums."""
