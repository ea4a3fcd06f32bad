"""Snapshots that outlive every node: put by one, found by another one that has nothing, whatever is wrong with some."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.servers.s3_server import BUCKET, SECRET_KEY, S3Server
from services.shared.config.load import SettingsError, load_settings
from services.shared.objects.objects import ObjectDamagedError, Objects, StoreAwayError
from services.shared.objects.parts import FilesInParts
from services.treenode.app import TreeNode
from services.treenode.node.lifecycle import NodeState
from services.treenode.settings import TreeNodeSettings
from services.treenode.snapshots.stored.objects import StoredSnapshots
from services.treenode.snapshots.stored.opening import open_stored
from services.treenode.snapshots.stored.settings import SnapshotStoreSettings
from tests.fakes.coordinator import fake_coordinator
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.fakes.server import CLUSTER
from tests.object_store import proxy, snapshot_settings
from tests.treenode.running_node import running_node
from tests.treenode.snapshots.test_restart import fed
from tests.updates import enrolled
from tests.waiting import until

LOG = "log-1"
PART_BYTES = 1_000


@pytest.fixture(params=["folder", "s3"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A place that nobody else has."""
    if request.param == "s3":
        return snapshot_settings(request.getfixturevalue("s3"), tmp_path)
    (tmp_path / "mount").mkdir()
    return {"snapshot_folder": str(tmp_path / "mount")}


def objects_of(given: dict[str, Any]) -> Objects:
    stored = open_stored(SnapshotStoreSettings(**given), CLUSTER)
    assert stored is not None
    return stored.objects


def stored_in(objects: Objects, kept: int = 3) -> StoredSnapshots:
    return StoredSnapshots(objects, PART_BYTES, 2, kept)


def label(position: int, import_id: int = 1, node: str = "n1", log_id: str = LOG) -> dict[str, Any]:
    state = {"log_id": log_id, "import_id": import_id, "position": position}
    return {**state, "written_at_s": 1_000 + position, "node": node}


async def put(stored: StoredSnapshots, folder: Path, given: dict[str, Any], content: bytes | None = None) -> bool:
    content = content if content is not None else f"{given}".encode() * 40
    path = folder / "snapshot"
    path.write_bytes(content)
    return await stored.put(given, path, hashlib.sha256(content).digest())


async def positions(stored: StoredSnapshots, log_id: str = LOG) -> list[int]:
    return [each.position for each in await stored.whole(log_id)]


# -- the place


async def test_of_two_that_store_the_same_position_the_first_ones_is_read_and_nothing_of_the_other_stays(
    given: dict[str, Any], tmp_path: Path
) -> None:
    objects = objects_of(given)
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    both = [put(stored_in(objects), tmp_path / name, label(7, node=name), name.encode() * 2_500) for name in ("1", "2")]
    done = await asyncio.gather(*both, return_exceptions=True)
    stored = stored_in(objects)
    # One whose parts were in the way of the other's tidying says so, and has done no harm.
    assert done.count(True) == 1, done
    assert all(each in (True, False) or isinstance(each, ObjectDamagedError) for each in done)
    (key,) = await stored.whole(LOG)
    found = await stored.described(key, LOG)
    content = found.about.node.encode() * 2_500
    assert b"".join([piece async for piece in stored.read(key, found, 0)]) == content
    assert not await put(stored, tmp_path, label(7, node="3"), b"3" * 2_500)
    assert len(await objects.sizes(key.key)) == 4


async def test_the_newest_few_stay_and_what_is_older_or_half_is_removed(given: dict[str, Any], tmp_path: Path) -> None:
    objects = objects_of(given)
    stored = stored_in(objects, kept=2)
    other_log = stored_in(objects, kept=2)
    assert await put(other_log, tmp_path, label(1, log_id="log-0"))
    await objects.put_new("000001-of-somebody-else/0", b"notes")
    for position in (1, 2, 3):
        assert await put(stored, tmp_path, label(position))
    assert await positions(stored) == [3, 2]
    three = (await stored.whole(LOG))[0]
    halves = [three.key.replace(f"{3:012d}", f"{position:012d}") for position in (1, 4, 9)]
    for half in halves:
        await objects.put_new(f"{half}/00000-ab", b"half of it")
    assert await put(stored, tmp_path, label(5))
    # What is empty only says that nobody may make it whole any more.
    left = {name.partition("/")[0] for name, size_bytes in (await objects.sizes("")).items() if size_bytes}
    assert halves[2] in left  # somebody may be at it
    assert left.isdisjoint(halves[:2])
    assert await positions(stored) == [5, 3]
    assert await positions(other_log, "log-0") == [1]
    assert "000001-of-somebody-else" in left


class _ListOfBefore:
    """Objects of which a list lacks an index that came to be while it was made, or that a mount does not show yet."""

    def __init__(self, objects: Objects, lacks: str) -> None:
        self.place, self.full_name = objects.place, objects.full_name
        self.put_new, self.get, self.remove = objects.put_new, objects.get, objects.remove
        self._objects, self._lacks = objects, lacks

    async def sizes(self, prefix: str) -> dict[str, int]:
        return {name: size for name, size in (await self._objects.sizes(prefix)).items() if name != self._lacks}


async def test_what_another_node_has_just_made_whole_is_not_removed_as_a_half(
    given: dict[str, Any], tmp_path: Path
) -> None:
    objects = objects_of(given)
    stored = stored_in(objects)
    await put(stored, tmp_path, label(4))
    (four,) = await stored.whole(LOG)
    assert await put(stored_in(_ListOfBefore(objects, f"{four.key}/whole")), tmp_path, label(5))
    assert await positions(stored) == [5, 4]
    assert await stored.problem(four, await stored.described(four, LOG)) == ""


async def test_a_half_that_was_given_up_is_never_offered_and_in_time_nothing_of_it_is_left(
    given: dict[str, Any], tmp_path: Path
) -> None:
    objects = objects_of(given)
    stored = stored_in(objects, kept=2)
    await put(stored, tmp_path, label(5))
    five = (await stored.whole(LOG))[0].key
    half = five.replace(f"{5:012d}", f"{4:012d}")
    await objects.put_new(f"{half}/00000-ab", b"half of it")
    await put(stored, tmp_path, label(6))
    assert await objects.sizes(half) == {f"{half}/whole": 0}
    # Its writer, which stood still meanwhile, goes on.
    with pytest.raises(ObjectDamagedError, match="given up"):
        content = (tmp_path / "snapshot").read_bytes()
        await FilesInParts(objects, PART_BYTES, 2).keep(
            half, tmp_path / "snapshot", hashlib.sha256(content).digest(), "4"
        )
    assert await positions(stored) == [6, 5]
    for position in (7, 8):
        await put(stored, tmp_path, label(position))
    assert await objects.sizes(half) == {}


async def test_what_an_index_says_has_to_be_what_it_is_under(given: dict[str, Any], tmp_path: Path) -> None:
    objects = objects_of(given)
    stored = stored_in(objects)
    await put(stored, tmp_path, label(5))
    (key,) = await stored.whole(LOG)
    index = await objects.get(f"{key.key}/whole", 10_000)
    moved = key._replace(key=key.key.replace(f"{5:012d}", f"{6:012d}"), position=6)
    await objects.put_new(f"{moved.key}/whole", index)
    with pytest.raises(ObjectDamagedError, match="of another state"):
        await stored.described(moved, LOG)
    text = index.rpartition(b"\n")[0].replace(b'"position":5', b'"position":-5')
    odd = key._replace(key=key.key.replace(f"{5:012d}", f"{7:012d}"), position=7)
    await objects.put_new(f"{odd.key}/whole", text + b"\n" + hashlib.sha256(text).hexdigest().encode())
    with pytest.raises(ObjectDamagedError, match="what it says of itself is odd"):
        await stored.described(odd, LOG)


# -- nodes


def looks(**more: Any) -> dict[str, Any]:
    return {"snapshot_look_s": 0.05, "snapshot_part_mib": 1, "search_backoff_initial_s": 0.05, **more}


async def store(given: dict[str, Any], folder: Path, pusher: FakePusher, count: int) -> int:
    """A node that takes so many updates, stores its snapshot and is gone, with its disk; its digest."""
    async with running_node(folder / f"of-{count}", **looks(**given)) as node:
        digest = await fed(node, pusher, count)
        await node.writer.save()
        await until(lambda: node.runner.stored.position == count, "the stored snapshot")
        assert node.runner.status().stored_snapshot.problem == ""
        return digest


async def starts(node: TreeNode, pusher: FakePusher, position: int) -> None:
    async with Stream(node, pusher) as stream:
        await stream.hello()
        await until(lambda: node.runner.core.sequence.position == position, "a snapshot")
        await stream.send(range(position + 1, len(pusher.updates) + 1))
        await until(lambda: node.runner.core.state is NodeState.PASSIVE, "the node to be ready")


async def test_an_empty_node_starts_from_what_is_stored_and_follows_the_log(
    given: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with fake_pusher() as pusher:
        await store(given, tmp_path, pusher, 60)
        async with running_node(tmp_path / "judge") as judge:
            digest = await fed(judge, pusher, 20)
        pusher.first_position = 50
        async with running_node(tmp_path / "new", **looks(**given)) as node:
            await starts(node, pusher, 60)
            assert node.runner.in_force.tree.digest == digest
            said = "starts from a stored snapshot: import 0, position 60"
            await until(lambda: said in caplog.text, "the line in the node's log")
            assert node.store.find(0, 60) is not None


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "index"])
async def test_a_bad_one_is_passed_over_for_the_next_older_one_with_a_line(
    given: dict[str, Any], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_pusher() as pusher:
        await store(given, tmp_path, pusher, 40)
        pusher.updates.clear()
        await store({**given, "snapshot_store_interval_s": 0.01}, tmp_path, pusher, 60)
        objects = objects_of(given)
        newest, older = await stored_in(objects).whole(LOG)
        assert (newest.position, older.position) == (60, 40)
        name = next(
            name for name in sorted(await objects.sizes(newest.key)) if name.endswith("/whole") is (damage == "index")
        )
        content = await objects.get(name, 64 << 20)
        await objects.remove([name])
        if damage != "missing":
            await objects.put_new(name, content[:-1] if damage == "cut" else content[:-10] + b"##########")
        pusher.first_position = 30
        async with running_node(tmp_path / "new", **looks(**given)) as node:
            await starts(node, pusher, 40)
            if damage != "changed":  # which sizes do not tell
                await until(lambda: node.runner.stored.problem, "the look at the place")
    lines = [line for line in caplog.messages if line.startswith(f"no snapshot from {objects.full_name(newest.key)}")]
    assert lines, caplog.messages
    assert objects.full_name(name) in lines[0]


async def test_a_snapshot_that_is_whole_and_no_tree_is_passed_over(
    given: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_pusher() as pusher:
        await store(given, tmp_path, pusher, 40)
        await put(stored_in(objects_of(given)), tmp_path, label(50, import_id=0), b"no state at all" * 9)
        pusher.updates += [enrolled(f"X{number}") for number in range(20)]
        pusher.first_position = 30
        async with running_node(tmp_path / "new", **looks(**given)) as node:
            await starts(node, pusher, 40)
    assert any("0000050-" in line and "does not begin with FTSTATE1" in line for line in caplog.messages)


async def test_a_place_that_is_away_costs_a_node_nothing_that_has_a_peer(s3: S3Server, tmp_path: Path) -> None:
    async with proxy(s3) as between, fake_pusher() as pusher, fake_coordinator() as coordinator:
        given = snapshot_settings(s3, tmp_path, snapshot_endpoint=between.endpoint, snapshot_retries=0)
        between.is_silent = True
        place = looks(coordinator=coordinator.address, **{**given, "snapshot_request_timeout_s": 0.3})
        async with running_node(tmp_path / "1", **place) as first:
            await fed(first, pusher, 40)
            await until(lambda: coordinator.heard["n1"].status.state == 4, "n1 to be ready")
            pusher.first_position = 30
            async with running_node(tmp_path / "2", name="n2", **place) as second:
                await starts(second, pusher, 40)
                await until(lambda: second.runner.stored.problem, "the node to say so")
                assert between.endpoint in second.runner.status().stored_snapshot.problem
                assert second.runner.core.state is NodeState.PASSIVE


async def test_an_empty_node_waits_for_a_place_that_is_away_and_says_so(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy(s3) as between, fake_pusher() as pusher:
        given = snapshot_settings(s3, tmp_path, snapshot_endpoint=between.endpoint, snapshot_retries=0)
        await store(given, tmp_path, pusher, 40)
        pusher.first_position = 30
        between.is_silent = True
        async with (
            running_node(tmp_path / "new", **looks(**{**given, "snapshot_request_timeout_s": 1.0})) as node,
            Stream(node, pusher) as stream,
        ):
            await stream.hello()
            await until(lambda: "stored snapshots can't be looked for" in caplog.text, "the line")
            assert node.runner.core.state is not NodeState.PASSIVE
            between.is_silent = False
            await until(lambda: node.runner.core.sequence.position == 40, "the snapshot")


async def test_wrong_keys_are_told_without_them(s3: S3Server, tmp_path: Path) -> None:
    given = snapshot_settings(s3, tmp_path)
    keys = Path(given["snapshot_credentials_file"])
    keys.write_text(keys.read_text().replace(SECRET_KEY, "wrong-secret"))
    async with fake_pusher() as pusher, running_node(tmp_path / "1", **looks(**given)) as node:
        await fed(node, pusher, 10)
        await until(lambda: node.runner.stored.problem, "the node to say so")
        problem = node.runner.status().stored_snapshot.problem
        assert f"the store of snapshots, s3://{BUCKET}" in problem
        assert "access is denied" in problem
        assert "wrong-secret" not in problem
        assert node.runner.core.state is NodeState.PASSIVE


async def test_a_read_goes_on_where_it_was_cut_off(given: dict[str, Any], tmp_path: Path) -> None:
    """A node that was ended in the middle has the parts that it had."""
    objects = objects_of(given)
    read: list[str] = []

    class Counting:
        place = objects.place

        def full_name(self, name: str) -> str:
            return objects.full_name(name)

        async def put_new(self, name: str, data: bytes) -> bool:
            return await objects.put_new(name, data)

        async def get(self, name: str, bytes_max: int) -> bytes:
            if len(read) == 3:
                raise StoreAwayError(objects.place, "it was killed")
            read.append(name)
            return await objects.get(name, bytes_max)

        async def sizes(self, prefix: str) -> dict[str, int]:
            return await objects.sizes(prefix)

        async def remove(self, names: Sequence[str]) -> None:
            await objects.remove(names)

    content = bytes(range(250)) * 20
    await put(stored_in(objects), tmp_path, label(5), content)
    stored = stored_in(Counting())
    (key,) = await stored.whole(LOG)
    found = await stored.described(key, LOG)
    had = b""
    with pytest.raises(StoreAwayError):
        async for piece in stored.read(key, found, 0):
            had += piece
    assert had == content[: 2 * PART_BYTES]
    read.clear()
    async for piece in stored.read(key, found, len(had)):
        had += piece
        if len(read) == 3:
            break
    assert had == content
    assert [name.partition("/")[2][:5] for name in read] == ["00002", "00003", "00004"]


def test_settings_that_can_not_be_are_told(tmp_path: Path) -> None:
    for said, wrong in (
        ("snapshot_url.*must name the bucket", {"treenode.snapshot_store": "s3"}),
        ("snapshot_store.*must be", {"treenode.snapshot_url": "s3://company"}),
        ("snapshots_stored", {"treenode.snapshots_stored": "1"}),
    ):
        with pytest.raises(SettingsError, match=said):
            load_settings(TreeNodeSettings, "treenode", None, wrong)
    s3 = SnapshotStoreSettings(
        snapshot_store="s3", snapshot_url="s3://company", snapshot_ca_file=str(tmp_path / "none.pem")
    )
    with pytest.raises(SettingsError, match=r"treenode\.snapshot_ca_file: .*No such file"):
        open_stored(s3, CLUSTER)
    assert open_stored(SnapshotStoreSettings(), CLUSTER) is None
