"""The pusher over a store that outlives its disk: what is acknowledged is there, and comes back from there."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from fasttree.client import Client, Endpoints, UploadOptions
from fasttree.v1 import import_source_pb2, import_source_pb2_grpc, pusher_pb2, types_pb2
from services.pusher.app import Pusher
from services.pusher.import_store.kept import KeptImports
from services.pusher.import_store.opening import open_imports
from services.pusher.settings import PusherSettings
from services.shared.objects.opening import plain_name
from services.shared.serving.channels import open_channel
from tests.fakes.node import FakeNode
from tests.fakes.server import CLUSTER
from tests.pusher.imports.test_imports import FILE, connected, ended, upload
from tests.pusher.running_pusher import code_of, running_pusher, stub_of
from tests.waiting import until


def settings(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"import_folder": str(tmp_path / "mount"), "import_part_mib": 1, "import_look_s": 0.05, **more}


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    path = tmp_path / "mount"
    path.mkdir()
    return path


async def download(pusher: Pusher, import_id: int, offset: int = 0) -> bytes:
    async with open_channel(f"127.0.0.1:{pusher.server.port}") as channel:
        request = import_source_pb2.DownloadImportRequest(import_id=import_id, offset=offset)
        parts = import_source_pb2_grpc.ImportSourceServiceStub(channel).DownloadImport(request)
        return b"".join([part.chunk.data async for part in parts if part.HasField("chunk")])


def objects_of(mount: Path) -> list[Path]:
    return sorted(path for path in (mount / plain_name(CLUSTER)).rglob("*") if path.is_file())


def alarm(pusher: Pusher) -> str:
    """The figure of the alarm."""
    lines = pusher.metrics.text().decode().splitlines()
    return next(line for line in lines if line.startswith("fasttree_pusher_import_store_unfit")).rpartition(" ")[2]


async def test_what_was_uploaded_to_a_pusher_whose_disk_is_gone_comes_from_the_store(
    tmp_path: Path, mount: Path
) -> None:
    async with running_pusher(tmp_path, **settings(tmp_path)) as pusher, stub_of(pusher) as stub:
        await upload(stub)
        assert objects_of(mount)
    shutil.rmtree(tmp_path / "imports")
    async with running_pusher(tmp_path, **settings(tmp_path)) as pusher, stub_of(pusher) as stub:
        for offset in (0, 777_777, len(FILE)):
            assert await download(pusher, 1, offset) == FILE[offset:]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await download(pusher, 1, len(FILE) + 1)
        assert code_of(caught.value) is grpc.StatusCode.OUT_OF_RANGE
        path = pusher.kept.files.path(pusher.catalog.status(1).manifest)
        await until(path.exists, "a copy on this disk")
        assert path.read_bytes() == FILE
        path.unlink()  # what is asked for meanwhile comes from the store
        assert await download(pusher, 1, 700_001) == FILE[700_001:]
        kept = (await stub.GetPusher(pusher_pb2.GetPusherRequest())).imports_kept
        assert (kept.place, kept.shared, kept.problem) == (str(mount), True, "")


async def test_an_upload_waits_for_a_store_that_is_away_and_nothing_else_does(tmp_path: Path, mount: Path) -> None:
    (tmp_path / "members.csv").write_bytes(FILE)
    mount.rename(tmp_path / "away")
    async with (
        running_pusher(tmp_path, **settings(tmp_path)) as pusher,
        stub_of(pusher) as stub,
        Client(Endpoints(pusher=f"127.0.0.1:{pusher.server.port}")) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=f"{mount}: the folder is not there; mount it") as caught:
            await upload(stub)
        assert code_of(caught.value) is grpc.StatusCode.UNAVAILABLE
        assert pusher.catalog.newest(1) == []
        assert "mount it" in (await stub.GetPusher(pusher_pb2.GetPusherRequest())).imports_kept.problem
        assert alarm(pusher) == "1.0"
        waiting = asyncio.create_task(client.upload_import(tmp_path / "members.csv", UploadOptions(patience_s=60.0)))
        (tmp_path / "away").rename(mount)
        assert (await waiting).import_id == 1
        await until(lambda: alarm(pusher) == "0.0", "the end of the alarm")
    assert objects_of(mount)


async def test_an_upload_folder_keeps_a_file_until_the_store_is_there(tmp_path: Path, mount: Path) -> None:
    mount.rename(tmp_path / "away")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    chosen = settings(tmp_path, upload_folder=str(inbox), upload_poll_s=0.02, upload_stable_s=0.0, import_look_s=60.0)
    async with running_pusher(tmp_path, **chosen) as pusher:
        await until(lambda: bool(pusher.kept.problem), "the first look at the store")
        pusher.kept.problem = ""
        (inbox / "members.csv").write_bytes(FILE)
        await until(lambda: bool(pusher.kept.problem), "the file to be tried")
        assert pusher.catalog.newest(1) == []
        (tmp_path / "away").rename(mount)
        await until(lambda: bool(pusher.catalog.newest(1)), "the file to be taken")
        assert not list((inbox / "refused").glob("*"))


async def test_a_store_that_is_set_later_gets_what_is_here(tmp_path: Path, mount: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await upload(stub)
        kept = (await stub.GetPusher(pusher_pb2.GetPusherRequest())).imports_kept
        assert (kept.place, kept.shared) == (str(tmp_path / "imports"), False)
    async with running_pusher(tmp_path, **settings(tmp_path)):
        await until(lambda: any(path.name == "whole" for path in objects_of(mount)), "the file in the store")
        shutil.rmtree(mount / plain_name(CLUSTER))  # as the runbook says of what is damaged
        await until(lambda: any(path.name == "whole" for path in objects_of(mount)), "the file in the store again")


async def test_a_rollback_takes_a_file_that_only_the_store_has_and_what_is_not_needed_goes(
    tmp_path: Path, mount: Path
) -> None:
    node = await FakeNode("one").start()
    chosen = settings(tmp_path, imports_kept=2, import_look_s=3_600.0)
    try:
        async with running_pusher(tmp_path, [node], **chosen) as pusher, stub_of(pusher) as stub:
            await connected(pusher, 1)
            for number in range(1, 4):
                await upload(stub, b"member_id\n%d\n" % number, f"{number}.csv")
                await ended(stub)
            await pusher.retention.look()
            assert {path.parent.name[:6] for path in objects_of(mount)} == {"000002", "000003"}
            path = pusher.kept.files.path(pusher.catalog.status(2).manifest)
            path.unlink()
            mount.rename(tmp_path / "away")
            with pytest.raises(grpc.aio.AioRpcError, match="mount it"):
                await stub.RollbackImport(pusher_pb2.RollbackImportRequest())
            (tmp_path / "away").rename(mount)
            manifest = (await stub.RollbackImport(pusher_pb2.RollbackImportRequest())).manifest
            assert await download(pusher, manifest.import_id) == b"member_id\n2\n"
            await ended(stub)
            await pusher.retention.look()
            assert await download(pusher, manifest.import_id) == b"member_id\n2\n"
    finally:
        await node.stop()


async def test_one_that_stands_by_says_what_it_would_lack(tmp_path: Path, mount: Path) -> None:
    async with running_pusher(tmp_path, **settings(tmp_path)) as pusher, stub_of(pusher) as stub:
        manifest = await upload(stub)
    other = PusherSettings.of(state_folder=str(tmp_path / "other"), **settings(tmp_path, import_look_s=0.001))
    kept = open_imports(other, CLUSTER)
    assert await kept.lacks([manifest]) == ""
    mount.rename(tmp_path / "away")
    await until(lambda: lacks(kept, manifest, "the folder is not there"), "the store to be missed")
    (tmp_path / "away").rename(mount)
    assert await kept.lacks([manifest]) == ""
    shutil.rmtree(mount / plain_name(CLUSTER))
    await until(lambda: lacks(kept, manifest, "the file of import 1 is not in"), "the file to be missed")


async def lacks(kept: KeptImports, manifest: types_pb2.ImportManifest, what: str) -> bool:
    return what in await kept.lacks([manifest])


async def test_an_object_that_can_not_be_read_keeps_no_other_import_from_the_store(tmp_path: Path, mount: Path) -> None:
    """Though it is the newest, which is looked at first; the store is there, and uploads go on."""
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        newest = [await upload(stub, b"member_id\n%d\n" % number, f"{number}.csv") for number in range(3)][-1]
    bad = mount / plain_name(CLUSTER) / f"{newest.import_id:06d}-{newest.sha256.hex()}" / "whole"
    bad.parent.mkdir(parents=True)
    bad.symlink_to("/proc/self/mem")  # reads of it fail with EIO
    async with running_pusher(tmp_path, **settings(tmp_path)) as pusher, stub_of(pusher) as stub:
        await until(lambda: sum(path.name == "whole" for path in objects_of(mount)) == 3, "the others in the store")
        await until(lambda: f"{bad} can't be read: Input/output error" in pusher.kept.problem, "its name to be told")
        await upload(stub)
        assert await download(pusher, newest.import_id) == b"member_id\n2\n"


async def test_damage_is_told_and_not_given_out(tmp_path: Path, mount: Path) -> None:
    async with running_pusher(tmp_path, **settings(tmp_path)) as pusher, stub_of(pusher) as stub:
        await upload(stub)
    shutil.rmtree(tmp_path / "imports")
    last = [path for path in objects_of(mount) if path.name != "whole"][-1]
    content = bytearray(last.read_bytes())
    content[100] ^= 1
    last.write_bytes(content)
    async with running_pusher(tmp_path, **settings(tmp_path)) as pusher, stub_of(pusher) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=f"{last} is damaged") as caught:
            await download(pusher, 1, len(FILE) - 10)
        assert code_of(caught.value) is grpc.StatusCode.DATA_LOSS
        await until(lambda: str(last) in pusher.kept.problem, "the damage to be told")
        assert alarm(pusher) == "1.0"
        assert not pusher.kept.files.path(pusher.catalog.status(1).manifest).exists()
