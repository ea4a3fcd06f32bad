"""Files as they are packed: gzip, zip with one file in it, zstd.

A file enters; what it holds leaves as a stream, never more of it than is asked for, or a sentence that says why it
can't be opened, with the mend. How a file is packed its first bytes say, never its name. No program is started for it,
and nothing is unpacked to a disk: a name in an archive leads nowhere.
"""

from services.shared.packing.packed import Packing, PackingError, Unpacked, is_bomb, opened, packing_of

__all__ = ["Packing", "PackingError", "Unpacked", "is_bomb", "opened", "packing_of"]
