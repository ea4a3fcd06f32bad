"""The node's import files: fetched once, used again only when still whole, a few kept."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.shared.files import durable
from services.shared.files.downloads import DownloadFailedError
from services.shared.serving.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError
from services.treenode.imports.files import SOURCES_MAX, ImportFiles
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.shared.files.power import ForgetfulOs

FILE = csv_of([("A", "", "10.00"), ("B", "A", "5.50")])
NOWHERE = "127.0.0.1:1"


def files_in(folder: Path, kept: int = 2) -> ImportFiles:
    return ImportFiles(folder, kept=kept, bytes_max=1 << 20, silence_s=5.0)


async def got(files: ImportFiles, manifest: types_pb2.ImportManifest, *sources: str) -> bytes:
    path = await files.get(manifest, list(sources), lambda share: None)
    return await asyncio.to_thread(path.read_bytes)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def test_a_file_is_kept_though_files_of_another_log_have_higher_numbers(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    async with fake_pusher() as pusher:
        for import_id in (56, 57, 1):
            assert await got(files, pusher.add_import(import_id, FILE, 0), pusher.address) == FILE
    assert names(tmp_path) == ["000001-members.csv", "000001.manifest", "000057-members.csv", "000057.manifest"]
    assert (await files.find(57)).manifest.import_id == 57
    with pytest.raises(NotFoundError):
        await files.find(56)


async def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        manifest = pusher.add_import(1, FILE, 0)
        files = files_in(tmp_path)
        await got(files, manifest, pusher.address)
        assert await got(files, manifest, NOWHERE) == FILE
        assert await got(files_in(tmp_path), manifest, NOWHERE) == FILE
        assert pusher.sent_bytes == len(FILE)


async def test_a_file_that_was_damaged_on_disk_is_fetched_again(tmp_path: Path) -> None:
    """Same size, same time: only its checksum tells."""
    async with fake_pusher() as pusher:
        manifest = pusher.add_import(1, FILE, 0)
        path = await files_in(tmp_path).get(manifest, [pusher.address], lambda share: None)
        state = path.stat()
        with path.open("r+b") as file:
            file.write(b"M")
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        files = files_in(tmp_path)
        with pytest.raises(DownloadFailedError):
            await got(files, manifest, NOWHERE)
        with pytest.raises(NotFoundError):
            await files.find(1)  # no peer is given it either
        assert await got(files, manifest, pusher.address) == FILE


async def test_an_import_of_that_number_with_other_content_takes_its_place(tmp_path: Path) -> None:
    other = csv_of([("Z", "", "1.00")])
    async with fake_pusher() as pusher:
        files = files_in(tmp_path)
        await got(files, pusher.add_import(1, FILE, 0), pusher.address)
        manifest = pusher.add_import(1, other, 0)
        manifest.file_name = "other.csv"
        assert await got(files, manifest, pusher.address) == other
        assert names(tmp_path) == ["000001-other.csv", "000001.manifest"]
        assert (await files.find(1)).manifest == manifest


async def half_of(files: ImportFiles, pusher: FakePusher, import_id: int) -> types_pb2.ImportManifest:
    """A download that was cut off in the middle, with the process."""
    manifest = pusher.add_import(import_id, FILE, 0)
    with pytest.raises(DownloadFailedError):
        await got(files, manifest, NOWHERE)
    part = files.incoming / names(files.incoming)[-1]
    part.write_bytes(FILE[: len(FILE) // 2])
    return manifest


async def test_a_folder_that_was_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    files = files_in(tmp_path / "state" / "imports")
    async with fake_pusher() as pusher:
        shutil.rmtree(tmp_path / "state")
        manifest = pusher.add_import(1, FILE, 0)
        assert await got(files, manifest, pusher.address) == FILE
    assert await got(files, manifest, NOWHERE) == FILE


async def test_a_download_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        manifest = await half_of(files_in(tmp_path), pusher, 1)
        assert await got(files_in(tmp_path), manifest, pusher.address) == FILE
        assert pusher.sent_bytes == len(FILE) - len(FILE) // 2


async def test_what_another_download_left_is_removed(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        await half_of(files_in(tmp_path), pusher, 1)
        assert len(names(tmp_path / "incoming")) == 1
        await got(files_in(tmp_path), pusher.add_import(2, FILE, 0), pusher.address)
        assert names(tmp_path) == ["000002-members.csv", "000002.manifest"]


async def test_files_of_a_former_version_are_removed(tmp_path: Path) -> None:
    for name in ("1.file", "1.manifest", "2.part"):
        (tmp_path / name).write_bytes(b"x")
    async with fake_pusher() as pusher:
        assert await got(files_in(tmp_path), pusher.add_import(1, FILE, 0), pusher.address) == FILE
    assert names(tmp_path) == ["000001-members.csv", "000001.manifest"]


async def test_a_damaged_manifest_is_no_manifest(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        manifest = pusher.add_import(1, FILE, 0)
        await got(files_in(tmp_path), manifest, pusher.address)
        hostile = types_pb2.ImportManifest(import_id=1, file_name="../../x", sha256=manifest.sha256)
        for content in (b"\xff\xff", b"", hostile.SerializeToString()):
            (tmp_path / "000001.manifest").write_bytes(content)
            with pytest.raises(NotFoundError):
                await files_in(tmp_path).find(1)
        assert await got(files_in(tmp_path), manifest, pusher.address) == FILE


async def test_manifests_that_can_not_be_are_refused(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    async with fake_pusher() as pusher:
        good = pusher.add_import(1, FILE, 0)
    for field, value in (("import_id", 0), ("sha256", b"short"), ("file_name", "../x"), ("file_name", "..")):
        manifest = types_pb2.ImportManifest()
        manifest.CopyFrom(good)
        setattr(manifest, field, value)
        with pytest.raises(InvalidArgumentError) as caught:
            await got(files, manifest, NOWHERE)
        assert caught.value.field == f"manifest.{field}"
    with pytest.raises(InvalidArgumentError, match="sources"):
        await got(files, good, *[NOWHERE] * (SOURCES_MAX + 1))
    good.size_bytes = (1 << 20) + 1
    with pytest.raises(ResourceExhaustedError):
        await got(files, good, NOWHERE)
    assert names(tmp_path) == []


async def test_a_power_failure_leaves_no_manifest_without_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_pusher() as pusher:
        files = files_in(tmp_path)
        await got(files, pusher.add_import(1, FILE, 0), pusher.address)
        for import_id in (2, 3):  # the second one takes the first one's room
            power = ForgetfulOs(files.folder, files.incoming)
            monkeypatch.setattr(durable, "os", power)
            await got(files, pusher.add_import(import_id, FILE, 0), pusher.address)
            monkeypatch.undo()
            assert len(power.calls) > 5
            for disk in (disk for disks in [*power.moments, power.ends()] for disk in disks):
                manifests = [path for path in disk if path.suffix == ".manifest" and int(path.stem) == import_id]
                for path in manifests:
                    assert types_pb2.ImportManifest.FromString(disk[path]).import_id == import_id
                    assert disk[path.with_name(f"{path.stem}-members.csv")] == FILE
            new = tmp_path / f"{import_id:06d}.manifest"
            assert all(new in disk for disk in power.ends())
