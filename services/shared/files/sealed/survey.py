"""What of a folder is sealed, by which keys, and what is clear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from services.shared.files.durable import PART
from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.names import IMPORT_FILE, MAGIC
from services.shared.files.sealed.own import own_keys

if TYPE_CHECKING:
    from services.shared.files.sealed.form import Header
    from services.shared.files.sealed.keys import Keys

#: Folders of state folders whose files hold members, and what stands in them beside such files.
_FOLDERS = ("snapshots", "periods", "imports")
_OTHERS = (".manifest", ".reason", PART)
#: What the survey has in place of a key's id where the file's beginning is damaged.
NO_KEY = "?"
#: Files that nothing is made of any more: they keep nobody from starting.
_ASIDE = "aside"


@dataclass
class Survey:
    """Files of a state folder that hold members; a log has figures of its own."""

    #: Files by the id of the key that sealed them.
    sealed: Counter[str] = field(default_factory=Counter)
    clear: list[Path] = field(default_factory=list)


def _files(folder: Path) -> Iterator[Path]:
    for name in _FOLDERS:
        for path in sorted((folder / name).rglob("*")):
            if path.suffix not in _OTHERS and not path.is_symlink() and path.is_file():
                yield path


def _head(path: Path) -> bytes:
    """As long as a header; empty where the file is gone by now."""
    from services.shared.files.sealed.form import HEADER_BYTES

    try:
        with path.open("rb", buffering=0) as file:
            return file.read(HEADER_BYTES)
    except FileNotFoundError:
        return b""


def survey(folder: Path) -> Survey:
    """Looks at every file's beginning. Blocks. Raises OSError."""
    from services.shared.files.sealed.form import read_header

    found = Survey()
    for path in _files(folder):
        head = _head(path)
        if not head.startswith(MAGIC):
            found.clear.append(path)
            continue
        try:
            found.sealed[read_header(head, path.name).key_id] += 1
        except SealDamagedError:
            found.sealed[NO_KEY] += 1
    return found


def check_keys(folder: Path) -> None:
    """For a start: whether every file that is sealed was sealed by a key that is here. Blocks.

    Raises:
        SealKeyError: One was not. Nothing was done with it.
        OSError: The disk.
    """
    if own_keys() is None and not any(_begins_sealed(path) for path in _files(folder)):
        return
    from services.shared.files.sealed.form import FileCipher

    for path, header in _headers(folder):
        if path.parent.name != _ASIDE:
            FileCipher.of(header, own_keys(), IMPORT_FILE, str(path))


def unopened_files(folder: Path, keys: Keys, *, aside: bool = True) -> set[str]:
    """The ids of keys that sealed a file, and are not among these, or are others there. `aside`: whether files count
    that keep nobody from starting. Blocks. Raises OSError."""
    from services.shared.files.sealed.form import FileCipher

    found: set[str] = set()
    for path, header in _headers(folder):
        if path.parent.name == _ASIDE and not aside:
            continue
        try:
            FileCipher.of(header, keys, IMPORT_FILE, str(path))
        except SealKeyError:
            found.add(header.key_id)
    return found


def is_state_folder(folder: Path) -> bool:
    """Whether it has a place for such files, whatever is in there yet."""
    return any((folder / name).is_dir() for name in _FOLDERS)


def _headers(folder: Path) -> Iterator[tuple[Path, Header]]:
    """Of every file that is sealed. Where one is damaged, whoever reads the file finds out, and says so."""
    from services.shared.files.sealed.form import read_header

    for path in _files(folder):
        head = _head(path)
        if not head.startswith(MAGIC):
            continue
        try:
            header = read_header(head, path.name)
        except SealDamagedError:
            continue
        yield path, header


def _begins_sealed(path: Path) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        return False
