"""Who this process is to others, whom it believes, and who may call what of it: certificate, key, authorities and
policy, all of them reloaded.

In come the settings `[tls]` and files that somebody renews; out go contexts and credentials for whoever listens or
dials, and a guard for whoever serves. A process has one identity, so there is one for each process (`own.py`); without
one, it listens on loopback.
"""
