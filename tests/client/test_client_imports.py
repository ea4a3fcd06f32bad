"""Import files: upload, progress, and what a broken upload leads to."""

import os
from pathlib import Path

import pytest

from fasttree.client import (
    FINAL_STATES,
    Client,
    FailedPreconditionError,
    ImportFileError,
    UploadOptions,
)
from fasttree.v1 import pusher_pb2
from tests.client.test_client_push import order
from tests.fakes.cluster import fake_cluster


async def test_a_file_arrives_whole_with_progress(tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_bytes(bytes(range(256)) * 6_000)
    seen: list[tuple[int, int]] = []
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.pusher.updates = [order(number) for number in range(5)]
        options = UploadOptions(as_of_position=5, force=True)
        manifest = await client.upload_import(path, options, lambda sent, size: seen.append((sent, size)))
        assert [content for _, content in cluster.pusher.files.values()] == [path.read_bytes()]
        assert (manifest.file_name, manifest.as_of_position, manifest.force) == ("members.csv", 5, True)
        assert seen[-1] == (1_536_000, 1_536_000)
        assert len(seen) == 3


async def test_an_upload_whose_answer_was_lost_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_text("member_id\n1\n")
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        first = await client.upload_import(path)
        cluster.pusher.break_uploads = 1
        again = await client.upload_import(path)
        assert (first.import_id, again.import_id) == (1, 2)
        assert len(cluster.pusher.files) == 2


async def test_the_rollout_is_watched_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_text("member_id\n1\n")
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        manifest = await client.upload_import(path)
        states = [status.state async for status in client.watch_import(manifest.import_id)]
        assert states[0] == pusher_pb2.IMPORT_STATE_WAITING
        assert states[-1] == pusher_pb2.IMPORT_STATE_DONE
        assert states[-1] in FINAL_STATES


async def test_a_missing_file_and_one_with_a_name_of_its_own(tmp_path: Path) -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        with pytest.raises(ImportFileError, match="No such file"):
            await client.upload_import(tmp_path / "nothing.csv")
        (tmp_path / "März 2024.csv").write_text("member_id\n1\n")
        assert (await client.upload_import(tmp_path / "März 2024.csv")).file_name == "März 2024.csv"


async def test_what_never_ends_or_never_begins_is_no_import_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        for path in (Path("/dev/zero"), tmp_path / "pipe.csv", tmp_path / "folder.csv"):
            with pytest.raises(ImportFileError, match=f"{path} can't be read: it is no regular file"):
                await client.upload_import(path)
        assert cluster.pusher.files == {}


async def test_rollback(tmp_path: Path) -> None:
    path = tmp_path / "members.csv"
    path.write_text("member_id\n1\n")
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        with pytest.raises(FailedPreconditionError, match="no import before"):
            await client.rollback_import()
        for _ in range(2):
            manifest = await client.upload_import(path)
            assert [status async for status in client.watch_import(manifest.import_id)]
        assert (await client.rollback_import()).import_id == 3
