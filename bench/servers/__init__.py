"""Servers beside a cluster, started on loopback for benches and tests: engines that hold a log, and who watches it."""
