"""What the engines of the log have in common: an append's updates told from those that were taken, and what is done
around each engine's own reads and writes. In come an engine's look-ups and its one write; out comes a `LogStore`.
"""
