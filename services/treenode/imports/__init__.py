"""How a node takes an import: the file fetched, read in another process, built, levelled with the log, swapped in."""
