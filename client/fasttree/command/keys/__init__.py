"""`fasttree keys`: files of keys by which state files are sealed, and which of them are needed yet. In come a file of
keys and state folders of this machine, out go a new key in the first place, or what is sealed by which.
"""
