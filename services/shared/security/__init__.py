"""Who this process is to others, and whom it believes: its certificate, its key, the authority, all of them reloaded.

In come the settings `[tls]` and files that somebody renews; out go contexts and credentials for whoever listens or
dials. A process has one identity, so there is one for each process (`own.py`); without one, it listens on loopback.
"""
