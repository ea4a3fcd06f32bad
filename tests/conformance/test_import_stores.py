"""What every place for import files must do (`services/shared/objects/objects.py`), and the imports kept in it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.pusher.import_store.imports import ImportObjects
from services.pusher.import_store.settings import ImportStoreSettings
from services.shared.objects.folder import FolderObjects
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, Objects, StoreAwayError
from services.shared.objects.s3 import S3Objects
from services.shared.serving.errors import DataLossError
from tests.object_store import s3_settings

PART_BYTES = 1_000
FILE = b"".join(b"member %d\n" % number for number in range(400))


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        (tmp_path / "mount").mkdir()
        return FolderObjects(ImportStoreSettings(import_folder=str(tmp_path / "mount")).place, "company")
    settings = s3_settings(request.getfixturevalue("s3"), tmp_path)
    return S3Objects(ImportStoreSettings(**settings).place, "company")


@pytest.fixture
def imports(objects: Objects) -> ImportObjects:
    return ImportObjects(objects, PART_BYTES, parallel=3)


def manifest(import_id: int = 5, content: bytes = FILE) -> types_pb2.ImportManifest:
    return types_pb2.ImportManifest(
        import_id=import_id,
        file_name="members.csv",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).digest(),
    )


def written(folder: Path, content: bytes = FILE) -> Path:
    path = folder / "members.csv"
    path.write_bytes(content)
    return path


async def read(imports: ImportObjects, entry: types_pb2.ImportManifest, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in imports.read(entry, offset)])


class Counting:
    """Another place's objects, with a count of what is put; after `fails_at` puts the server is gone. `loses_answer`:
    it does the last one all the same."""

    def __init__(self, objects: Objects, fails_at: int = 1_000, *, loses_answer: bool = False) -> None:
        self._objects, self._fails_at, self._loses_answer = objects, fails_at, loses_answer
        self.place = objects.place
        self.puts = 0

    def full_name(self, name: str) -> str:
        return self._objects.full_name(name)

    async def put_new(self, name: str, data: bytes) -> bool:
        if self.puts >= self._fails_at:
            if self._loses_answer:
                await self._objects.put_new(name, data)
            raise StoreAwayError(self.place, "it was killed")
        self.puts += 1
        return await self._objects.put_new(name, data)

    async def get(self, name: str, bytes_max: int) -> bytes:
        return await self._objects.get(name, bytes_max)

    async def sizes(self, prefix: str) -> dict[str, int]:
        return await self._objects.sizes(prefix)

    async def remove(self, names: Sequence[str]) -> None:
        await self._objects.remove(names)


async def test_an_object_is_put_once_and_stays_what_it_was(objects: Objects) -> None:
    assert await objects.put_new("a-1/00000-ab", b"first")
    assert not await objects.put_new("a-1/00000-ab", b"other")
    assert await objects.get("a-1/00000-ab", 10) == b"first"


async def test_of_many_who_put_one_object_at_once_one_does(objects: Objects) -> None:
    done = await asyncio.gather(*(objects.put_new("a-1/00000-ab", b"writer %d" % each) for each in range(8)))
    assert sum(done) == 1
    assert await objects.get("a-1/00000-ab", 100) == b"writer %d" % done.index(True)


async def test_objects_are_listed_below_a_prefix_and_gone_once_removed(objects: Objects) -> None:
    for name, size_bytes in (("a-1/0", 3), ("a-1/1", 2_000), ("a-12/0", 1)):
        await objects.put_new(name, b"x" * size_bytes)
    assert await objects.sizes("a-1") == {"a-1/0": 3, "a-1/1": 2_000}
    assert await objects.sizes("") == {"a-1/0": 3, "a-1/1": 2_000, "a-12/0": 1}
    assert await objects.sizes("b-1") == {}
    await objects.remove(["a-1/0", "a-1/1", "a-1/7"])
    assert await objects.sizes("") == {"a-12/0": 1}
    with pytest.raises(ObjectMissingError):
        await objects.get("a-1/0", 10)


async def test_an_object_that_is_larger_than_it_can_be_is_not_read(objects: Objects) -> None:
    await objects.put_new("a-1/0", b"x" * 11)
    with pytest.raises(ObjectDamagedError, match="a-1/0 has 11 bytes"):
        await objects.get("a-1/0", 10)


async def test_a_file_is_read_back_from_any_offset(imports: ImportObjects, tmp_path: Path) -> None:
    await imports.keep(manifest(), written(tmp_path))
    for offset in (0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, len(FILE) - 1, len(FILE)):
        assert await read(imports, manifest(), offset) == FILE[offset:]
    assert await imports.problem(manifest()) is None


async def test_a_file_that_is_kept_again_is_put_once(objects: Objects, tmp_path: Path) -> None:
    await ImportObjects(objects, PART_BYTES, 2).keep(manifest(), written(tmp_path))
    counting = Counting(objects)
    await ImportObjects(counting, PART_BYTES, 2).keep(manifest(), written(tmp_path))
    assert counting.puts == 1  # only the index, which was there


@pytest.mark.parametrize("loses_answer", [False, True])
@pytest.mark.parametrize("fails_at", [0, 2, 4])
async def test_what_was_put_before_the_server_was_killed_is_not_put_again(
    objects: Objects, tmp_path: Path, fails_at: int, loses_answer: bool
) -> None:
    path, parts = written(tmp_path), -(-len(FILE) // PART_BYTES)
    killed = Counting(objects, fails_at, loses_answer=loses_answer)
    with pytest.raises(StoreAwayError, match="it was killed"):
        await ImportObjects(killed, PART_BYTES, 1).keep(manifest(), path)
    before = len(await objects.sizes(""))
    assert before >= fails_at + loses_answer
    if before <= parts:
        problem = await ImportObjects(objects, PART_BYTES, 1).problem(manifest())
        assert problem is not None
        assert problem.startswith("is not in")
    again = Counting(objects)
    imports = ImportObjects(again, PART_BYTES, 1)
    await imports.keep(manifest(), path)
    assert again.puts == max(1, parts + 1 - before)
    assert await read(imports, manifest()) == FILE


async def test_parts_of_another_size_do_no_harm(objects: Objects, tmp_path: Path) -> None:
    for part_bytes in (PART_BYTES, 700):
        imports = ImportObjects(objects, part_bytes, 2)
        await imports.keep(manifest(), written(tmp_path))
        assert await read(imports, manifest(), 650) == FILE[650:]


async def test_an_import_that_is_taken_again_has_the_objects_of_the_first(
    imports: ImportObjects, tmp_path: Path
) -> None:
    await imports.keep(manifest(5), written(tmp_path))
    assert await imports.problem(manifest(9)) is None
    assert await read(imports, manifest(9), 100) == FILE[100:]
    assert await imports.forget(9, [manifest(9).sha256]) == []
    assert await read(imports, manifest(9)) == FILE


async def test_what_nothing_needs_is_removed_and_what_is_being_put_is_not(
    objects: Objects, imports: ImportObjects, tmp_path: Path
) -> None:
    others = {import_id: b"file %d" % import_id for import_id in (3, 4, 5, 6)}
    for import_id, content in others.items():
        await imports.keep(manifest(import_id, content), written(tmp_path, content))
    await objects.put_new("notes", b"somebody's own")
    left_over = f"000004-{manifest(4, b'never in the log').sha256.hex()}/00000-ab"
    await objects.put_new(left_over, b"a part")
    removed = await imports.forget(5, [manifest(4, others[4]).sha256])
    assert {name.partition("-")[0] for name in removed} == {"000003", "000004", "000005"}
    assert left_over in removed
    left = await objects.sizes("")
    assert {name.partition("-")[0] for name in left} == {"000004", "000006", "notes"}
    assert await read(imports, manifest(4, others[4])) == others[4]
    with pytest.raises(ObjectMissingError):
        await read(imports, manifest(3, others[3]))


async def test_of_a_file_that_was_taken_in_twice_the_newest_objects_stay(
    objects: Objects, imports: ImportObjects, tmp_path: Path
) -> None:
    for import_id in (3, 5, 7):
        await imports.keep(manifest(import_id), written(tmp_path))
    await imports.forget(6, [manifest().sha256])
    assert {name.partition("-")[0] for name in await objects.sizes("")} == {"000005", "000007"}
    assert await read(imports, manifest(3)) == FILE


@pytest.mark.parametrize("damage", ["another", "truncated", "missing"])
@pytest.mark.parametrize("which", ["00001-", "whole"])
async def test_what_is_damaged_is_told_by_name_and_never_read(
    objects: Objects, imports: ImportObjects, tmp_path: Path, damage: str, which: str
) -> None:
    await imports.keep(manifest(), written(tmp_path))
    name = next(name for name in await objects.sizes("") if f"/{which}" in name)
    content = await objects.get(name, 1 << 20)
    await objects.remove([name])
    if damage == "another":
        await objects.put_new(name, content[:-10] + b"##########")
    elif damage == "truncated":
        await objects.put_new(name, content[:-1])
    pieces: list[bytes] = []
    if (damage, which) == ("missing", "whole"):  # then the import was never kept
        with pytest.raises(ObjectMissingError):
            await read(imports, manifest())
        return
    with pytest.raises(ObjectDamagedError) as caught:
        async for piece in imports.read(manifest(), 0):
            pieces.append(piece)  # noqa: PERF401 what came before the error counts
    assert objects.full_name(name) in str(caught.value)
    assert FILE.startswith(b"".join(pieces))
    assert len(b"".join(pieces)) == (PART_BYTES if which != "whole" else 0)
    if (damage, which) != ("another", "00001-"):
        problem = await imports.problem(manifest())
        assert problem is not None
        assert name in problem
    if which != "whole" and damage != "another":
        await imports.keep(manifest(), written(tmp_path))  # whoever has the file makes it whole again
        assert await read(imports, manifest()) == FILE


async def test_a_file_that_is_not_the_manifests_is_not_kept(imports: ImportObjects, tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match="changed on this disk"):
        await imports.keep(manifest(), written(tmp_path, FILE[:-1] + b"!"))
    with pytest.raises(ObjectMissingError):
        await read(imports, manifest())


async def test_a_cancelled_upload_leaves_a_store_that_takes_it_again(objects: Objects, tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Slow(Counting):
        async def put_new(self, name: str, data: bytes) -> bool:
            if self.puts == 2:
                begun.set()
                await asyncio.Event().wait()
            return await super().put_new(name, data)

    slow = asyncio.create_task(ImportObjects(Slow(objects), PART_BYTES, 2).keep(manifest(), written(tmp_path)))
    await begun.wait()
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    imports = ImportObjects(objects, PART_BYTES, 2)
    await imports.keep(manifest(), written(tmp_path))
    assert await read(imports, manifest()) == FILE
