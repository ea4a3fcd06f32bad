"""Two pushers and a coordinator in this process, over one log on each engine: who is active, what the other lacks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import msgspec
import pytest

from bench.cluster.cluster import free_port
from fasttree.client import CallError, Client, Endpoints
from fasttree.v1 import coordinator_pb2, pusher_pb2_grpc
from services.coordinator.app import Coordinator
from services.coordinator.election.events import Recorded
from services.coordinator.pushers.events import PusherState
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.store import MemoryStore
from services.pusher.__main__ import one_of_several
from services.pusher.leadership.leadership import CLAIM_AGAIN_S, Turn
from services.pusher.leadership.runner import PusherTurns
from services.pusher.log.fencing.fence import MOVED
from services.pusher.log.settings import LogSettings
from services.pusher.log.sqlite import SqliteLog
from services.pusher.settings import PusherSettings
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from tests.jetstream_servers import stream_settings
from tests.postgresql_server import schema_settings
from tests.pusher.updates import orders
from tests.waiting import until

IMPORT = "member_id,sponsor_id\nT1,\n"


async def running_coordinator(stack: contextlib.AsyncExitStack, recorded: Recorded | None = None) -> Coordinator:
    settings = CoordinatorSettings.of(port=0, http_port=0)
    coordinator = await Coordinator.start(ClusterSettings(name="dot-test"), settings, MemoryStore(recorded))
    stack.push_async_callback(coordinator.stop)
    return coordinator


@contextlib.asynccontextmanager
async def pusher(name: str, folder: Path, log: LogSettings, coordinator: str) -> AsyncIterator[PusherTurns]:
    folder.mkdir(exist_ok=True)
    (folder / "hosts").write_text("# none\n")
    cluster = ClusterSettings(
        name="dot-test", coordinator=coordinator, periods=["2026-11"], hosts_file=str(folder / "hosts")
    )
    settings = PusherSettings.of(
        name=name,
        takes_turns=True,
        port=free_port(),
        http_port=free_port(),
        state_folder=str(folder),
        lineage_patience_s=0.1,
        follow_interval_s=0.01,
    )
    turns = one_of_several(cluster, msgspec.structs.replace(settings, log=log))
    await turns.start()
    try:
        yield turns
    finally:
        await turns.stop()
        assert turns.background.error is None


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "jetstream"])
async def test_the_other_one_goes_on_where_the_first_one_was(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        coordinator = await running_coordinator(stack)
        address = f"127.0.0.1:{coordinator.server.port}"
        log, folders = LogSettings(), [tmp_path, tmp_path]
        if engine != "sqlite":
            # As on two machines: nothing but the log is common.
            made = schema_settings if engine == "postgresql" else stream_settings
            log = stack.enter_context(made(request.getfixturevalue(engine)))
            folders = [tmp_path / "one", tmp_path / "other"]
        both = [
            await stack.enter_async_context(pusher(name, folder, log, address))
            for name, folder in zip(("p1", "p2"), folders, strict=True)
        ]
        core = coordinator.pushers.core
        client = await stack.enter_async_context(Client(Endpoints(coordinator=address, pusher=addresses(both))))

        async def push(first: int) -> list[int]:
            return [receipt.position async for receipt in client.push(orders(first, 50))]

        assert await push(1) == list(range(2, 52))
        before = core.recorded.pusher
        standby = "p2" if before == "p1" else "p1"
        await until(lambda: core.leases[standby].beat.position == 51, "the other one to have read it all")
        # Who pushes there is sent on, by name and address.
        async with open_channel(core.leases[standby].beat.address) as channel:
            call = pusher_pb2_grpc.PusherServiceStub(channel).PushUpdates()
            # Nothing is written: that may meet the call's end, which grpcio tells in words of its own.
            assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert f"this pusher stands by: {before} is active at " in await call.details()

        # Its own process is watched as the active one's: version, disk, memory, who calls.
        for turns in both:
            page = turns.ports.text().decode()
            for figure in ("build", "disk_free_bytes", "event_loop_delay_seconds", "calls_open", "connections_open"):
                assert f"\nfasttree_pusher_{figure}{{" in page, (turns.address, figure)

        (tmp_path / "tree.csv").write_text(IMPORT)
        await client.upload_import(tmp_path / "tree.csv")
        lacks = "lacks the file of import 1" if engine != "sqlite" else ""
        await until(lambda: lacks in core.leases[standby].beat.note, "what it lacks")

        for folder in folders:  # what was mistyped meanwhile ends nobody who is to take over
            (folder / "hosts").write_text("mistyped\n")
        done = await client.switchover_pusher()
        assert (done.from_pusher, done.to_pusher, done.epoch) == (before, standby, core.recorded.pusher_epoch)
        assert await push(51) == list(range(52, 102))
        assert await push(1) == list(range(2, 52))  # taken before: the same positions
        cluster = await client.get_cluster()
        states = {pusher.name: pusher.status.state for pusher in cluster.pushers}
        assert states[standby] == coordinator_pb2.PUSHER_STATE_ACTIVE
        assert (await client.get_pusher()).epoch == done.epoch


async def test_a_pusher_over_another_log_is_nobodys_successor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its folder is new, or its settings are those of before a move. It says so, and takes no turn, planned or not."""
    async with contextlib.AsyncExitStack() as stack:
        coordinator = await running_coordinator(stack)
        address, core = f"127.0.0.1:{coordinator.server.port}", coordinator.pushers.core
        first = contextlib.AsyncExitStack()
        await first.enter_async_context(pusher("p1", tmp_path / "one", LogSettings(), address))
        await until(lambda: bool(core.recorded.pusher_log), "the cluster's log to be recorded")
        astray = await stack.enter_async_context(pusher("p2", tmp_path / "other", LogSettings(), address))
        await until(lambda: "p2" in core.leases and core.leases["p2"].beat.log_id != "", "its log to be told")
        await until(lambda: astray.core.unfit != "", "the coordinator's word")
        own, log = core.leases["p2"].beat.log_id, core.recorded.pusher_log
        told = f"it has log {own}, and the cluster's is {log}: start it with the log of the other pushers"
        async with aiohttp.ClientSession() as session, session.get(url(astray)) as answer:
            assert answer.status == 503
            assert (await answer.text()).startswith(told)
        assert "\nfasttree_pusher_unfit{" in (page := astray.ports.text().decode())
        assert next(line for line in page.splitlines() if line.startswith("fasttree_pusher_unfit{")).endswith(" 1.0")
        client = await stack.enter_async_context(Client(Endpoints(coordinator=address, pusher=astray.address)))
        with pytest.raises(CallError, match=f"p2 can't be active: {told}"):
            await client.switchover_pusher("p2")
        shown = {each.name: each.status for each in (await client.get_cluster()).pushers}["p2"]
        assert shown.state == coordinator_pb2.PUSHER_STATE_UNFIT
        assert shown.note.startswith(told)

        await first.aclose()
        await asyncio.sleep(3.0 * core._settings.pusher_lease_s)
        assert core.recorded.pusher == "p1"
        async with open_channel(astray.address) as channel:
            call = pusher_pb2_grpc.PusherServiceStub(channel).PushUpdates()
            assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert f"this pusher stands by, and can't be active: {told}" in await call.details()
        await stack.enter_async_context(pusher("p1", tmp_path / "one", LogSettings(), address))
        await until(lambda: core.leases["p1"].beat.log_in_force, "the one with the log to go on")
        assert (core.recorded.pusher, core.recorded.pusher_log) == ("p1", log)
        assert caplog.text.count(f"can't be made active: {told}") == 1


async def test_a_log_that_is_not_the_clusters_takes_nothing_while_nodes_are_silent(tmp_path: Path) -> None:
    """Receipts were given from it once, and its own mark says so; the one that the coordinator knows is another one."""

    async def start(stack: contextlib.AsyncExitStack, recorded: Recorded) -> tuple[Coordinator, Client, PusherTurns]:
        coordinator = await running_coordinator(stack, recorded)
        address = f"127.0.0.1:{coordinator.server.port}"
        turns = await stack.enter_async_context(pusher("p1", tmp_path, LogSettings(), address))
        client = await stack.enter_async_context(Client(Endpoints(coordinator=address, pusher=turns.address)))
        return coordinator, client, turns

    async with contextlib.AsyncExitStack() as stack:
        coordinator, client, _ = await start(stack, Recorded())
        assert len([receipt async for receipt in client.push(orders(1, 5))]) == 5
        epoch = coordinator.pushers.core.recorded.pusher_epoch
    async with contextlib.AsyncExitStack() as stack:
        recorded = Recorded(pusher_epoch=epoch, pusher="p1", pusher_incarnation="of before", pusher_log="another")
        coordinator, client, _ = await start(stack, recorded)
        core = coordinator.pushers.core
        await until(lambda: core.leases.get("p1") is not None and core.leases["p1"].beat.epoch > epoch, "its turn")
        closed = (await client.get_pusher()).closed_reason
        assert closed.startswith("another log was the cluster's than this one (")
        assert closed.endswith("waits for the nodes to say what they have (0 of 0 did)")
        await asyncio.sleep(1.0)  # its patience, ten times
        assert (await client.get_pusher()).closed_reason == closed
        assert core.recorded.pusher_log == "another"


async def test_a_second_process_of_a_name_says_so(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        coordinator = await running_coordinator(stack)
        address, core = f"127.0.0.1:{coordinator.server.port}", coordinator.pushers.core
        first = contextlib.AsyncExitStack()
        await first.enter_async_context(pusher("p1", tmp_path, LogSettings(), address))
        await until(lambda: bool(core.recorded.pusher_log), "the first one to be active")
        second = await stack.enter_async_context(pusher("p1", tmp_path, LogSettings(), address))
        told = "another process holds the name p1: end it, or set another pusher.name"
        await until(lambda: second._link.refusal == told, "the second one to be refused")
        async with aiohttp.ClientSession() as session, session.get(url(second)) as answer:
            assert (answer.status, (await answer.text()).strip()) == (503, told)
        await first.aclose()
        await until(lambda: second.core.turn is Turn.ACTIVE and not second._link.refusal, "it to have the name")


async def test_a_log_that_was_moved_is_nobodys_turn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody pushes meanwhile. Each says why, once, and nobody is named any more; any refused claim is told."""
    async with contextlib.AsyncExitStack() as stack:
        coordinator = await running_coordinator(stack)
        address = f"127.0.0.1:{coordinator.server.port}"
        both = [
            await stack.enter_async_context(pusher(name, tmp_path, LogSettings(), address)) for name in ("p1", "p2")
        ]
        core, leases = coordinator.pushers.core, coordinator.pushers.core.leases

        def states() -> set[PusherState]:
            return {each.beat.state for each in leases.values()}

        await until(lambda: states() == {PusherState.ACTIVE, PusherState.STANDBY}, "one to be active")
        epoch = core.recorded.pusher_epoch
        standby = next(turns for turns in both if turns.core.turn is Turn.STANDBY)
        for _ in range(2):
            await standby._claim(epoch)
        assert caplog.text.count(f"can't claim the log: epoch {epoch} is that of {core.recorded.pusher}") == 1
        mover = SqliteLog(tmp_path)
        mover.claim(mover.fence().epoch + 1, f"{MOVED}schema other at db1/company, copy 7")
        mover.close()
        await until(lambda: states() == {PusherState.UNFIT}, "both to say that they can't be active")
        told = (
            "this log was moved to schema other at db1/company: "
            'set pusher.log_store = "postgresql", pusher.log_url and pusher.log_schema = "other"'
        )
        assert {each.beat.note for each in leases.values()} == {told}
        epoch = core.recorded.pusher_epoch
        for turns in both:
            async with open_channel(turns.address) as channel:
                call = pusher_pb2_grpc.PusherServiceStub(channel).PushUpdates()
                assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
                assert told in await call.details()
            async with aiohttp.ClientSession() as session, session.get(url(turns)) as answer:
                assert (answer.status, (await answer.text()).strip()) == (503, told)
        await asyncio.sleep(3.0 * CLAIM_AGAIN_S)
        assert core.recorded.pusher_epoch == epoch
        assert states() == {PusherState.UNFIT}
        assert caplog.text.count(f"nobody can be active here: {told}") == 2
        assert caplog.text.count(f"can't claim the log: {told}") <= 2


def url(turns: PusherTurns) -> str:
    return f"http://127.0.0.1:{turns.ports.http.port}/readyz"


def addresses(pushers: list[PusherTurns]) -> str:
    return ",".join(turns.address for turns in pushers)
