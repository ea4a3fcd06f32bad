"""Files in a place that several machines see: a folder of a mount, or a bucket of an S3-compatible store.

In go objects, each put whole under the condition that nobody has its name, and files, in parts that are objects. Out
they come as they were put; what is damaged is told by name, and never given out. Which files there are, and when one
may go, is said by the rooms that keep them there: `services/pusher/import_store`, `services/treenode/snapshots/stored`.

Why a file is many objects, and not one by a multipart upload: each part is put under the condition that nobody has, and
its name says what is in it. So whoever comes second, or again after an answer that was lost, or after a process that
was killed in the middle, finds what is there already and puts the rest; a process that was replaced and does not know
can do no harm; and no store has to remember an upload that nobody will end.
"""
