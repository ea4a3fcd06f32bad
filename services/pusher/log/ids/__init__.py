"""Ids for good: what is kept of an update once its record is trimmed, so that it is never taken again.

A key of its id, a hash of its content, and its position: 28 bytes, in sorted files (*runs*) that are never changed, and
merged as they get many. Ids and contents of records that are about to be trimmed enter; whether an id was taken, at
which position and with which content, leaves.

The log's own index knows the ids of records that are kept; nothing here is asked for those. Which runs count is in the
log's own store; one that is on other machines keeps the runs, too, and these files are a copy.
"""
