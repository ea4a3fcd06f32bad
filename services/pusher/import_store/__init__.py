"""Import files where every pusher finds them: a folder that all of them see, or a bucket of an S3-compatible store.

In go the file of an import, before the log has its record, and out comes the same file, whichever pusher asks; what is
damaged is told by name, and never given out. A pusher's own disk is a cache of it (`services/pusher/imports/files.py`),
and all that there is where no such place is set. How a file lies in objects is told in `services/shared/objects`; the
key of an import's is `ID-SHA256`, below the cluster's name.
"""
