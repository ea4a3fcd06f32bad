"""The console's tree in a real browser, on a cluster that has many members."""
