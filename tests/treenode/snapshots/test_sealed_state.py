"""A node with keys: what it keeps is sealed, by the first key; without the right one it does not start, and nothing is
set aside for it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttree.v1 import treenode_pb2, treenode_pb2_grpc
from services.shared.files.chunks import ChunkWriter, make_chunk
from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.names import MAGIC, state_name
from services.shared.files.sealed.own import begin_sealing, keys_for_now
from services.shared.files.sealed.settings import SealingSettings
from services.shared.files.sealed.survey import survey
from services.shared.files.sealed.writing import SealedWriter
from services.shared.serving.channels import open_channel
from services.treenode.snapshots.peers import read_of_peer
from services.treenode.snapshots.state_file import StateDamagedError, check_state, read_state
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import fake_pusher
from tests.shared.files.sealed.own_keys import keys
from tests.treenode.running_node import load_import, running_node
from tests.treenode.snapshots.test_restart import fed


@pytest.fixture(autouse=True)
def _no_keys_afterwards() -> Iterator[None]:
    yield
    begin_sealing(SealingSettings())


def snapshots(folder: Path) -> list[Path]:
    return sorted((folder / "snapshots").glob("*.snapshot"))


#: One of the members that nodes are fed, as a snapshot has it: too long for chance to bring it about in what is sealed.
IN_CLEAR = b"M41" + bytes(13)


async def test_a_node_without_keys_writes_in_clear(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        await fed(node, pusher, 100)
    (path,) = snapshots(tmp_path)
    assert IN_CLEAR in path.read_bytes()


async def test_a_node_goes_on_from_what_it_sealed(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        with keys_for_now(keys("one")):
            async with running_node(tmp_path) as node:
                digest = await fed(node, pusher, 100)
        (path,) = snapshots(tmp_path)
        sealed = path.read_bytes()
        assert sealed.startswith(MAGIC)
        assert IN_CLEAR not in sealed
        with keys_for_now(keys("two", "one")):
            async with running_node(tmp_path) as node:
                assert node.runner.in_force.tree.digest == digest
                assert node.runner.core.sequence.position == 100
                digest = await fed(node, pusher, 10)
        assert survey(tmp_path).sealed["two"] >= 1
        for path in snapshots(tmp_path):  # until the last one by the old key is gone
            if path.read_bytes().startswith(MAGIC) and b"one" in path.read_bytes()[:48]:
                path.unlink()
        with keys_for_now(keys("two")):
            async with running_node(tmp_path) as node:
                assert node.runner.in_force.tree.digest == digest


async def test_a_clear_folder_goes_over(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        async with running_node(tmp_path) as node:
            digest = await fed(node, pusher, 20)
        with keys_for_now(keys()):
            assert len(survey(tmp_path).clear) == 1
            async with running_node(tmp_path, snapshots_kept=1) as node:
                assert node.runner.in_force.tree.digest == digest
                await fed(node, pusher, 20)
            assert not survey(tmp_path).clear
            assert survey(tmp_path).sealed == {"one": 1}


async def test_without_the_right_key_a_node_does_not_start_and_nothing_is_lost(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        with keys_for_now(keys()):
            await fed(node, pusher, 20)
            assert await node.writer.save() is not None
    (path,) = snapshots(tmp_path)
    before = path.read_bytes()
    for known, words in (
        (None, r"20\.snapshot is sealed by key one, and no keys are named: set sealing\.key_file"),
        (keys("two"), r"sealed by key one, which is not in sealing\.key_file = state\.keys"),
        (keys(secret=b"t"), r"sealed by another key one"),
    ):
        with keys_for_now(known), pytest.raises(SealKeyError, match=words):
            async with running_node(tmp_path):
                pass
        assert path.read_bytes() == before
    assert not (tmp_path / "snapshots" / "aside").exists()


async def test_damage_is_damage_with_the_right_key(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        with keys_for_now(keys()):
            async with running_node(tmp_path) as node:
                await fed(node, pusher, 20)
            (path,) = snapshots(tmp_path)
            other = path.with_name("0-21.snapshot")
            other.write_bytes(path.read_bytes())
            with pytest.raises(StateDamagedError, match="is of another file"):
                read_state(other)
            other.unlink()
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            with pytest.raises(StateDamagedError, match="is not what was sealed there"):
                check_state(path)
            async with running_node(tmp_path) as node:
                assert node.runner.core.sequence.position == 0
            assert (tmp_path / "snapshots" / "aside" / path.name).exists()


async def test_an_import_is_fetched_read_and_kept_sealed(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        with (tmp_path / "state.keys").open("w") as file:
            file.write("one " + "QUJD" * 10 + "QUI=\n")
        (tmp_path / "state.keys").chmod(0o600)
        begin_sealing(SealingSettings(key_file=str(tmp_path / "state.keys")))
        rows = [(f"M{number}", "" if number == 0 else "M0", "1.00") for number in range(50)]
        manifest = pusher.add_import(1, csv_of(rows), 0)
        async with running_node(tmp_path / "n") as node:
            responses = await load_import(node, pusher, manifest)
            assert responses[-1].rows == 50
        kept = [path for path in (tmp_path / "n" / "imports").iterdir() if path.suffix == ".csv"]
        assert [path.read_bytes().startswith(MAGIC) for path in kept] == [True]
        assert not survey(tmp_path / "n").clear


async def test_peers_get_what_is_in_a_sealed_snapshot(tmp_path: Path) -> None:
    """They seal it by keys of their own; between the two it goes by TLS."""
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        with keys_for_now(keys("one")):
            await fed(node, pusher, 20)
            await node.writer.save()
            (path,) = snapshots(tmp_path)
            assert path.read_bytes().startswith(MAGIC)
            async with open_channel(node.address.instant) as channel:
                stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
                answers = [each async for each in stub.DownloadSnapshot(treenode_pb2.DownloadSnapshotRequest())]
            manifest, data = answers[0].manifest, b"".join(each.chunk.data for each in answers)
            assert (len(data), hashlib.sha256(data).digest()) == (manifest.size_bytes, manifest.sha256)
            assert data.startswith(b"FTSTATE1")
            part = tmp_path / "peer.part"
            writer = ChunkWriter(part, len(data), state_name(path.name))
            for each in answers[1:4]:
                writer.write(each.chunk)
            writer.close()  # and goes on where it was
            writer = ChunkWriter(part, len(data), state_name(path.name))
            for offset in range(writer.offset, len(data), 100_000):
                writer.write(make_chunk(offset, data[offset : offset + 100_000]))
            assert writer.finish(manifest.sha256) == manifest.sha256
            assert part.read_bytes().startswith(MAGIC)
            assert read_of_peer(part, node.cluster.name, path.name)[0].digest == node.runner.in_force.tree.digest


async def test_a_full_disk_is_told_and_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        await fed(node, pusher, 20)

        def full(self: SealedWriter, data: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with keys_for_now(keys()), monkeypatch.context() as patch:
            patch.setattr(SealedWriter, "write", full)
            with pytest.raises(OSError, match="No space left"):
                await node.writer.save()
        assert not snapshots(tmp_path)
        with keys_for_now(keys()):
            assert await node.writer.save() is not None
