"""A folder of import files, the same on the pusher and on every node.

| in the folder | what |
|---|---|
| `ID-NAME` | a whole file, durable, found to have the SHA-256 of its manifest when it got this name |
| `incoming/*.part` | one that is still on its way |

What else an owner keeps there, and what it may forget, is its own business.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fasttree.v1 import types_pb2
from services.shared.domain.sentences import system_words
from services.shared.files.checksums import KnownChecksums
from services.shared.files.durable import PART, discard, make_folder, remove_durably, replace_durably
from services.shared.files.names import inside
from services.shared.files.sealed.errors import SealDamagedError, SealKeyError


class ImportFileStore:
    """The folder. Every method but `path` waits for the disk: run it in a thread.

    Args:
        folder: Made if it is not there.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self._checksums = KnownChecksums()
        make_folder(self.incoming)

    def path(self, manifest: types_pb2.ImportManifest) -> Path:
        """Where an import's file is kept."""
        return inside(self.folder, f"{manifest.import_id:06d}-{manifest.file_name}")

    def part(self, name: str) -> Path:
        """Where a file is kept while it is on its way. The folder is made anew where somebody removed it meanwhile."""
        make_folder(self.incoming)
        return inside(self.incoming, name + PART)

    def keep(self, part: Path, manifest: types_pb2.ImportManifest) -> None:
        """Gives a file its place, durably: one with its bytes on disk and with the manifest's SHA-256."""
        path = self.path(manifest)
        replace_durably(part, path)
        self._checksums.remember(path, manifest.sha256)

    def problem(self, manifest: types_pb2.ImportManifest) -> str | None:
        """What keeps the file from being used again, as the end of a sentence; None: it is what its manifest says.

        A file that this process found good, and that was not written to since, is not read again.
        """
        try:
            found = self._checksums.of(self.path(manifest))
        except FileNotFoundError:
            return "is no longer kept"
        except OSError as error:
            return f"can't be read: {system_words(error)}"
        except SealDamagedError as error:
            return f"is damaged: {error}"
        except SealKeyError as error:
            return f"can't be opened: {error}"
        if found != manifest.sha256:
            return f"is damaged: its SHA-256 is {found.hex()}, it was {manifest.sha256.hex()}"
        return None

    def discard(self, part: Path) -> None:
        """Removes what came of a file that will not be kept."""
        discard(part)

    def remove_all_but(self, kept: Iterable[Path]) -> list[str]:
        """Removes every other file of the folder itself, whatever it is; returns their names."""
        keep = set(kept)
        removed = [path for path in self.folder.iterdir() if path not in keep and path.is_file()]
        remove_durably(*removed)
        return [path.name for path in removed]
