"""Files that travel and that last: one way to write them, to name them, to know them by, and to hand them on.

In come bytes, names and chunks from anyone, and none is believed: a name can't lead out of its folder, a chunk has its
checksum, a whole file its SHA-256. Out go files that are whole or not there, through a power failure too, and their
chunks to whoever asks. Which files there are, and when one may go, is said by the rooms that own the folders.
"""
