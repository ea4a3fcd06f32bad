"""State files that nobody reads without a key: sealed in chunks by AES-256-GCM, and single records of logs with them.

In come bytes, a file's kind and name, and the keys of this process (`own.py`; none: everything is as it was, byte for
byte). Out come files and records of which every change is found: what was cut, swapped, taken from another file, or
changed by a bit is told as damage. A key that is missing, or is another one of the same id, is never told as damage:
nothing is set aside or made anew for it (`keys.py`). docs/decisions/22-sealed-state.md says why it is built this way.
"""
