"""A log in SQLite becomes the same log elsewhere, while it is written; nothing is lost, and nobody writes both."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import run

import grpc
import grpc.aio
import pytest
from click.testing import CliRunner

from fasttree.command.main import cli
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc
from services.pusher.log.fencing.fence import COPYING, LogElsewhereError
from services.pusher.log.inspection import verify_log
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import DeposedError, LogDamagedError, LogEnds, LogStore, LogStoreError, StoredImport
from services.pusher.moving.jetstream_target import JetstreamTarget
from services.pusher.moving.moving import Copied, copy_log
from services.pusher.moving.postgresql_target import PostgresqlTarget
from services.shared.serving.channels import open_channel
from tests.jetstream_servers import stream_settings
from tests.postgresql_server import schema_settings
from tests.pusher.pusher_process import PusherProcess
from tests.pusher.running_pusher import push
from tests.pusher.updates import ids_and_contents, order, orders


@pytest.fixture(params=["postgresql", "jetstream"])
def settings(request: pytest.FixtureRequest) -> Iterator[LogSettings]:
    made = schema_settings if request.param == "postgresql" else stream_settings
    with made(request.getfixturevalue(request.param)) as settings:
        yield settings


def opened(folder: Path, settings: LogSettings) -> LogStore:
    folder.mkdir(exist_ok=True)
    kind = PostgresqlLog if settings.log_store == "postgresql" else JetstreamLog
    return kind(folder, settings, "test")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[SqliteLog]:
    (tmp_path / "state").mkdir()
    store = SqliteLog(tmp_path / "state", cluster="test")
    store.claim(3, "a")
    yield store
    store.close()


def copied(folder: Path, settings: LogSettings, *, finish: bool = False, instead_of: str = "") -> Copied:
    return copy_log(
        folder, settings, "test", finish=finish, progress=lambda what, done, total: None, instead_of=instead_of
    )


def put(store: SqliteLog, first: int, count: int) -> None:
    for begin in range(first, first + count, 500):
        store.append(*ids_and_contents(orders(begin, min(500, first + count - begin))))


def test_everything_is_the_same_afterwards(old: SqliteLog, settings: LogSettings, tmp_path: Path) -> None:
    put(old, 0, 1500)
    for first in range(100, 1000, 100):
        old.trim(first, 100)
        while (take_merged := old.merge_ids()) is not None:
            take_merged()
    folder = tmp_path / "state"
    assert copied(folder, settings) == Copied(old.log_id, LogEnds(900, 1500), 899, False)
    # It goes on meanwhile: records are added, others trimmed, some of them before they were ever copied.
    put(old, 1500, 2500)
    old.trim(2001, 10_000)
    assert copied(folder, settings).ends == LogEnds(2001, 4000)
    old.append(*ids_and_contents([order(4000), order(4001)]), [1])
    status = pusher_pb2.ImportStatus(state=pusher_pb2.IMPORT_STATE_DONE)
    status.manifest.import_id = 7
    old.save_import(StoredImport(status, taken=True))
    old.adopt(old.log_id, ["another"], "as a test")
    data = old.read(2001, 2500, 1 << 20).data

    # Until it is finished nobody can take the copy for the log.
    new = opened(tmp_path / "new", settings)
    for claim in (partial(new.claim, 9, "b"), new.claim_alone):
        with pytest.raises(LogElsewhereError, match="let `fasttree log copy` finish"):
            claim()
    assert copied(folder, settings, finish=True) == Copied(old.log_id, LogEnds(2001, 4002), 2000, True)

    with pytest.raises(DeposedError):
        put(old, 5000, 1)
    for claim in (partial(old.claim, 3, "a"), partial(old.claim, 99, "b"), old.claim_alone):
        with pytest.raises(LogElsewhereError, match=r"this log was moved to (schema|stream) log_"):
            claim()
    for epoch, holder in ((2, "a"), (3, "b")):
        with pytest.raises(DeposedError):
            new.claim(epoch, holder)
    new.claim(3, "a")
    assert (new.log_id, new.replaced_log_ids, new.adopted_reason) == (old.log_id, ("another",), "as a test")
    assert new.ends() == LogEnds(2001, 4002)
    assert new.read(2001, 2500, 1 << 20).data == data
    assert [position for position, _ in new.rule_records()] == [4002]
    assert [(each.status.manifest.import_id, each.taken) for each in new.imports()] == [(7, True)]
    assert new.find([f"order-{number}" for number in range(5000)]) == {f"order-{number}" for number in range(4002)}
    again = new.append(*ids_and_contents(orders(0, 4003)))
    assert list(again.positions) == list(range(1, 4004))
    assert again.duplicates == frozenset(range(4002))
    other = new.append(*ids_and_contents([order(5, 7), order(1900, 7), order(3000, 7)]))
    assert other.conflicts == {0: 6, 1: 1901, 2: 3001}
    new.close()


def test_what_ended_in_the_middle_goes_on(
    old: SqliteLog, settings: LogSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(old, 0, 2500)
    old.trim(500, 1000)
    folder = tmp_path / "state"
    target = PostgresqlTarget if settings.log_store == "postgresql" else JetstreamTarget

    def dies_in(name: str, call: int) -> Callable[..., object]:
        work, calls = getattr(target, name), list[int]()

        def dying(one: object, *values: object) -> object:
            calls.append(1)
            if len(calls) == call:
                raise KeyboardInterrupt
            return work(one, *values)

        return dying

    for name, call in (("add", 2), ("add_ids", 1), ("finish", 1)):
        with monkeypatch.context() as patched:
            patched.setattr(target, name, dies_in(name, call))
            with pytest.raises(KeyboardInterrupt):
                copied(folder, settings, finish=True)
    with pytest.raises(DeposedError):
        put(old, 3000, 1)
    assert copied(folder, settings, finish=True).ends == LogEnds(500, 2500)
    new = opened(tmp_path, settings).claim_alone()
    assert new.fence()[:2] == (3, "a")
    assert list(new.append(*ids_and_contents(orders(0, 2501))).positions) == list(range(1, 2502))
    new.close()
    # The command may have died before it said so: whoever runs it again hears how it is.
    for finish in (False, True):
        assert copied(folder, settings, finish=finish) == Copied(old.log_id, LogEnds(500, 2500), 499, True)


def test_the_log_goes_on_in_one_place_alone(
    old: SqliteLog,
    settings: LogSettings,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two servers may have a schema, or a stream, of one name each."""
    put(old, 0, 10)
    folder = tmp_path / "state"
    made = schema_settings if settings.log_store == "postgresql" else stream_settings
    target = PostgresqlTarget if settings.log_store == "postgresql" else JetstreamTarget
    monkeypatch.setattr(PostgresqlLog, "place", "schema log at db1")
    monkeypatch.setattr(JetstreamLog, "place", "schema log at db1")

    def dies(target: object, *values: object) -> None:
        raise KeyboardInterrupt

    with made(request.getfixturevalue(settings.log_store)) as elsewhere:
        assert copied(folder, elsewhere).moved is False
        with monkeypatch.context() as patched:
            patched.setattr(target, "finish", dies)
            with pytest.raises(KeyboardInterrupt):
                copied(folder, settings, finish=True)
        # To the same place, the copying alone goes on; it says that the old log takes nothing more.
        assert (copied(folder, settings).moved, copied(folder, settings).begun) == (False, True)
        with pytest.raises(LogStoreError, match=r"was moved to .*db1 already: go on there") as told:
            copied(folder, elsewhere, finish=True)
        first_copy = re.search(r"--instead-of (\w{32})", str(told.value))
        assert first_copy is not None
        with pytest.raises(DeposedError, match="let `fasttree log copy` finish"):
            opened(tmp_path / "elsewhere", elsewhere).claim(9, "b")
        with pytest.raises(LogStoreError, match="go on there"):
            copied(folder, elsewhere, finish=True, instead_of="0" * 32)
        assert copied(folder, elsewhere, finish=True, instead_of=first_copy[1]).moved is True
        # The one that was given up never becomes the log.
        with pytest.raises(LogStoreError, match="go on there"):
            copied(folder, settings, finish=True)
        with pytest.raises(DeposedError, match="let `fasttree log copy` finish"):
            opened(tmp_path / "here", settings).claim(9, "b")
        new = opened(tmp_path / "new", elsewhere).claim_alone()
        assert new.ends() == LogEnds(1, 10)
        new.close()


def test_another_place_is_refused_before_anything_is_copied_there(
    old: SqliteLog, settings: LogSettings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Without --finish, too: nothing that is copied from a log that was moved can ever become one."""
    made = schema_settings if settings.log_store == "postgresql" else stream_settings
    server = request.getfixturevalue(settings.log_store)
    folder = tmp_path / "state"

    def nothing(what: str, done: int, total: int) -> None:
        pytest.fail(f"{what}, in vain")

    put(old, 0, 1500)
    with made(server) as begun, made(server) as empty:
        copied(folder, begun)
        put(old, 1500, 10)
        assert copied(folder, settings, finish=True).moved is True
        for number, elsewhere in enumerate((begun, empty)):
            before = opened(tmp_path / f"before {number}", elsewhere)
            as_it_was = before.fence(), before.ends()
            before.close()
            for finish in (False, True):
                with pytest.raises(LogStoreError, match=r"this log was moved to .* already: go on there"):
                    copy_log(folder, elsewhere, "test", finish=finish, progress=nothing)
            after = opened(tmp_path / f"after {number}", elsewhere)
            assert (after.fence(), after.ends()) == as_it_was
            after.close()
    assert copied(folder, settings) == Copied(old.log_id, LogEnds(1, 1510), 0, True)


def test_a_log_that_was_moved_is_judged_up_to_where_it_was(
    old: SqliteLog, settings: LogSettings, tmp_path: Path
) -> None:
    """The pusher goes on elsewhere with the same folder: what was promised since is not lost here."""
    put(old, 0, 20)
    folder = tmp_path / "state"
    assert verify_log(folder).moved_to == ""
    copied(folder, settings, finish=True)
    new = opened(folder, settings).claim_alone()
    new.append(*ids_and_contents(orders(20, 5)))
    new.close()
    found = verify_log(folder)
    assert (found.problems, found.records, found.last_position) == ([], 20, 20)
    assert re.match(r"(schema|stream) log_\d+ at \S+$", found.moved_to)
    done = CliRunner().invoke(cli, ["log", "verify", "--folder", str(folder)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "20 records, positions 1 to 20: sound",
        f"this log was moved to {found.moved_to}, and is judged up to where it was moved: go on there",
    ]
    assert json.loads(CliRunner().invoke(cli, ["log", "verify", "--folder", str(folder), "--json"]).stdout) == {
        "first_position": 1, "last_position": 20, "records": 20, "sound": True, "moved_to": found.moved_to
    }  # fmt: skip
    # A pusher whose settings lead back here hears the same, not that its log has lost its end.
    with contextlib.closing(SqliteLog(folder)) as back, pytest.raises(DeposedError, match="this log was moved to"):
        back.claim_alone()
    with contextlib.closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as change:
        change.execute("DELETE FROM log WHERE position = 7")
    assert verify_log(folder).problems == ["log record at position 7 is missing"]


def test_a_pusher_on_a_copy_that_is_not_finished_is_told_so(
    old: SqliteLog, settings: LogSettings, tmp_path: Path
) -> None:
    put(old, 0, 10)
    copied(tmp_path / "state", settings)
    words = (
        r"^(schema|stream) log_\d+ at .* holds a copy that is not finished yet, not the one that receipts were given "
    )
    with pytest.raises(LogDamagedError, match=words + r".*let `fasttree log copy --finish` finish it;") as told:
        opened(tmp_path / "state", settings)
    assert "log restore" not in str(told.value)
    copied(tmp_path / "state", settings, finish=True)
    opened(tmp_path / "state", settings).claim_alone().close()


def test_another_log_is_no_target_and_a_copy_that_differs_is_told(
    old: SqliteLog, settings: LogSettings, tmp_path: Path
) -> None:
    put(old, 0, 1500)
    copied(tmp_path / "state", settings)
    (tmp_path / "other").mkdir()
    other = SqliteLog(tmp_path / "other", cluster="test").claim_alone()
    put(other, 0, 10)
    with pytest.raises(LogStoreError, match="name an empty one"):
        copied(tmp_path / "other", settings)
    other.close()
    store = opened(tmp_path / "by hand", settings)
    store.claim(1, COPYING)
    store.append(*ids_and_contents([order(1500, 7)]))  # what only a fault could put there
    store.close()
    put(old, 1500, 1000)
    with pytest.raises(LogStoreError, match="differs"):
        copied(tmp_path / "state", settings, finish=True)
    put(old, 2500, 1)  # the log is still where it was


async def test_a_pusher_moves_without_losing_a_push(settings: LogSettings, tmp_path: Path) -> None:
    """As the runbook has it: docs/operations.md, `From SQLite to PostgreSQL or JetStream`."""
    process = PusherProcess(tmp_path)
    await process.start()
    receipts: dict[str, int] = {}
    before = await process.get()

    async def push_some(first: int, count: int) -> None:
        async with open_channel(process.address) as channel:
            for receipt in await push(pusher_pb2_grpc.PusherServiceStub(channel), orders(first, count)):
                assert receipt.position
                assert receipts.setdefault(receipt.update_id, receipt.position) == receipt.position

    def copy(*arguments: str) -> dict[str, object]:
        command = [sys.executable, "-P", "-m", "fasttree.command", "log", "copy", "--from", str(tmp_path / "state")]
        command += ["--to", settings.log_url, "--schema", settings.postgresql.log_schema, "--cluster", before.cluster]
        command += ["--stream", settings.jetstream.nats_stream]
        done = run([*command, "--json", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    await push_some(0, 1000)
    assert copy()["moved"] is False
    await push_some(1000, 500)
    assert copy("--finish")["moved"] is True
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever its words are: there is no receipt)
        await push_some(1500, 1)
    assert "order-1500" not in receipts
    await process.end(signal.SIGKILL)  # it may have ended by itself: it can write nothing any more
    # One that is started as it was takes nothing either, and says where the log is.
    await process.start()
    told = rf"this log was moved to .*: set pusher.log_store = \"{settings.log_store}\", pusher.log_url and pusher\."
    assert re.match(told, (await process.get()).closed_reason)
    with pytest.raises(grpc.aio.AioRpcError, match="this log was moved to ") as refused:
        await push_some(1500, 1)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    await process.end(signal.SIGKILL)
    process._settings += [
        f"pusher.log_store={settings.log_store}",
        f"pusher.log_url={settings.log_url}",
        f"pusher.log_schema={settings.postgresql.log_schema}",
        f"pusher.nats_stream={settings.jetstream.nats_stream}",
    ]
    await process.start()
    await push_some(0, 1502)
    assert len(set(receipts.values())) == 1502
    now = await process.get()
    assert now.log_id == before.log_id
    assert now.log_durability.store == settings.log_store
    await process.end()
