"""Updates into the log, and a look at what is in it."""
