"""Import files where every pusher finds them: a folder that all of them see, or a bucket of an S3-compatible store.

In go the file of an import, before the log has its record, and out comes the same file, whichever pusher asks; what is
damaged is told by name, and never given out. A pusher's own disk is a cache of it (`services/pusher/imports/files.py`),
and all that there is where no such place is set.

An import's objects, below the cluster's name:

| name | what |
|---|---|
| `ID-SHA256/NUMBER-SHA256` | one part of the file, by its own SHA-256 |
| `ID-SHA256/whole` | which parts there are: an import is in the store once this is |

Why so, and not one object by a multipart upload: each part is put under the condition that nobody has, and its name
says what is in it. So whoever comes second, or again after an answer that was lost, or after a pusher that was killed
in the middle, finds what is there already and puts the rest; a pusher that was replaced and does not know can do no
harm; and no store has to remember an upload that nobody will end.
"""
