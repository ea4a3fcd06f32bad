"""Updates into the log, those that change its rules among them, and a look at what is in it."""
