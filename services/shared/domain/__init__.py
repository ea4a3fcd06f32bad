"""The rules of a member and of an update: what may be written, and the sentence that says what is wrong.

There are three doors: a pushed update (the pusher asks `updates.update_problem` before it takes one), the engine (which
asks the same of each update that it can't take by the batch, whatever stands in a log), and the import file (whose
kernels take their numbers from `limits` and their sentences from the rule's own file). What one door takes, all take,
and it comes out of the tree equal; `tests/shared/domain` sends one corpus through all of them. The Python client
imports nothing of the services and keeps its own reading of amounts and JSON; the same corpus is sent through it.

Texts come in; numbers, or a sentence without the name of the field, leave. What depends on the state of a tree (whether
a member is known, a period open, a column there) is the engine's to say. No I/O here, nor anything but Python and the
messages of the API.
"""
