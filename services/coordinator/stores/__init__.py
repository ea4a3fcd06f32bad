"""Where the coordinator keeps what must survive it: one interface with its duties, one file an engine."""
