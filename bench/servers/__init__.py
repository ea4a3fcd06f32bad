"""Real servers of engines that hold a log, started on loopback for benches and tests."""
