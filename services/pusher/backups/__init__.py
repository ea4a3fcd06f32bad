"""Backups of a pusher's folder: taken beside the pusher that runs, put in the place of a log that is lost.

A folder enters, a folder leaves; nothing here talks to a pusher. What nodes make of a log that is older than they are
is the lineage's to say (`services/pusher/lineage`).
"""
