"""What keeps a packed file from being opened."""


class PackingError(OSError):
    """It can't be opened, or not to its end: one line about it, with the mend. Whoever counts with a disk that can't be
    read counts with this too."""
