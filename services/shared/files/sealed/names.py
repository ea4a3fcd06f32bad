"""What a sealed file is: a part of what is authenticated with it."""

from __future__ import annotations

from typing import Final, NamedTuple

#: What a sealed file begins with.
MAGIC: Final = b"FTSEAL01"


class SealedAs(NamedTuple):
    """What has another kind or name is another file, whatever is in it."""

    kind: str
    name: str


#: A file of an import, whatever it is called: which one it is, its SHA-256 says.
IMPORT_FILE: Final = SealedAs("import", "")


def state_name(name: str) -> SealedAs:
    """A tree's state, by the name that it has when it is whole."""
    return SealedAs("state", name)
