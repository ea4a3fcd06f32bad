"""The folder of import files: whole ones under names that can't lead out of it, and what comes on its way."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.shared.files.import_files import ImportFileStore
from services.shared.serving.errors import InvalidArgumentError

FILE = b"member_id\nA\n"


def manifest(import_id: int = 1, file_name: str = "members.csv", content: bytes = FILE) -> types_pb2.ImportManifest:
    return types_pb2.ImportManifest(
        import_id=import_id,
        file_name=file_name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).digest(),
    )


def kept(store: ImportFileStore, entry: types_pb2.ImportManifest, content: bytes = FILE) -> Path:
    part = store.part("1")
    part.write_bytes(content)
    store.keep(part, entry)
    assert not part.exists()
    return store.path(entry)


def test_a_file_has_its_place_by_id_and_name(tmp_path: Path) -> None:
    store = ImportFileStore(tmp_path / "imports")
    path = kept(store, manifest(7))
    assert path == tmp_path / "imports" / "000007-members.csv"
    assert path.read_bytes() == FILE
    assert store.problem(manifest(7)) is None


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = ImportFileStore(tmp_path / "imports")
    with pytest.raises(InvalidArgumentError):
        store.path(manifest(1, name))
    with pytest.raises(InvalidArgumentError):
        store.part(name)


def test_a_file_is_read_again_only_where_it_may_have_changed(tmp_path: Path) -> None:
    store = ImportFileStore(tmp_path)
    path = kept(store, manifest())
    state = path.stat()
    with path.open("r+b") as file:
        file.write(b"M")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert store.problem(manifest()) is None  # found good when it was kept: not read
    problem = ImportFileStore(tmp_path).problem(manifest())  # the next process reads it
    assert problem is not None
    assert problem.startswith("is damaged: its SHA-256 is")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert store.problem(manifest()) == problem
    path.unlink()
    assert store.problem(manifest()) == "is no longer kept"


def test_what_is_not_kept_is_removed_but_not_what_is_on_its_way(tmp_path: Path) -> None:
    store = ImportFileStore(tmp_path)
    first, second = kept(store, manifest(1)), kept(store, manifest(2))
    (tmp_path / "stray").write_bytes(b"x")
    store.part("2").write_bytes(b"half")
    assert sorted(store.remove_all_but([second])) == ["000001-members.csv", "stray"]
    assert not first.exists()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["000002-members.csv", "2.part"]
    store.discard(store.part("2"))
    store.discard(store.part("2"))
    assert not store.part("2").exists()
