"""What a process is set by: the TOML file, the environment and the command line in, checked sections out.

The host file of a cluster is read here too: which nodes there are."""
