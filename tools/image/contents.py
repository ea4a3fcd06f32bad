"""What is in a layer, and the tar that it becomes: the same bytes for the same contents."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple


class Layer(NamedTuple):
    """A tar that has been written."""

    path: Path
    #: Of the tar as it is: layers are not compressed, so it is the digest of the blob too.
    sha256: str
    #: Sum of the files' sizes.
    unpacked_bytes: int


class Contents:
    """Paths in an image, without a leading slash, each to a file here, to bytes, or to where a link leads."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[tarfile.TarInfo, Path | bytes | None]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._items

    def add_folder(self, source: Path, target: str) -> None:
        """All that is in a folder, below `target`; links stay links."""
        for folder, names, files in os.walk(source):
            inside = Path(folder).relative_to(source)
            for name in (*names, *files):
                self.add_path(Path(folder) / name, (Path(target) / inside / name).as_posix())

    def add_path(self, source: Path, target: str) -> None:
        """A file, a folder (without what is in it), or a link."""
        mode = source.lstat().st_mode
        if stat.S_ISLNK(mode):
            self.add_link(target, os.readlink(source))
        elif stat.S_ISDIR(mode):
            self.add_empty_folder(target)
        else:
            self._add(target, source, size=source.lstat().st_size, mode=0o755 if mode & 0o111 else 0o644)

    def add_bytes(self, target: str, content: bytes, mode: int = 0o644) -> None:
        """A file that is made here."""
        self._add(target, content, size=len(content), mode=mode)

    def add_link(self, target: str, leads_to: str) -> None:
        """A symbolic link."""
        self._add(target, None, type=tarfile.SYMTYPE, linkname=leads_to, mode=0o777)

    def add_empty_folder(self, target: str, mode: int = 0o755) -> None:
        """A folder, where there is none yet."""
        if target not in self._items:
            self._add(target, None, type=tarfile.DIRTYPE, mode=mode)

    def _add(self, target: str, source: Path | bytes | None, **fields: object) -> None:
        for parent in Path(target).parents:
            if parent.name and parent.as_posix() not in self._items:
                self.add_empty_folder(parent.as_posix())
        info = tarfile.TarInfo(target)
        for name, value in fields.items():
            setattr(info, name, value)
        self._items[target] = (info, source)

    def write(self, path: Path, time_s: int = 0) -> Layer:
        """The tar: everything owned by root, sorted, and written at one time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}-{os.getpid()}")
        with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(self._items):
                info, source = self._items[name]
                info.mtime = time_s
                if isinstance(source, bytes):
                    tar.addfile(info, BytesIO(source))
                elif source is None:
                    tar.addfile(info)
                else:
                    with source.open("rb") as file:
                        tar.addfile(info, file)
        unfinished.rename(path)
        return Layer(path, sha256_of(path), sum(info.size for info, _ in self._items.values()))


def layer_of(path: Path) -> Layer:
    """A tar that is there already."""
    with tarfile.open(path) as tar:
        size = sum(member.size for member in tar)
    return Layer(path, sha256_of(path), size)


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(parts: Iterable[str | bytes]) -> str:
    """Under which something that is made of these is kept."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]
