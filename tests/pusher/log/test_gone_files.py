"""Files of the log that are removed, moved or replaced while it is open: nothing more is promised, all are told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2
from services.pusher.log.disk.end_mark import read_mark
from services.pusher.log.disk.log_files import LOOK_S
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogEnds, LogGoneError, StoredImport
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import ids_and_contents, order, orders
from tests.waiting import until


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def opened(folder: Path) -> tuple[SqliteLog, Clock]:
    """A log of 20 updates, of which 10 are trimmed."""
    folder.mkdir(exist_ok=True)
    clock = Clock()
    store = SqliteLog(folder, monotonic=clock).claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    store.trim(11, 100)
    return store, clock


def replace(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.rename(path)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "log.db").unlink(), "log.db is gone: it was removed or moved"),
        (lambda folder: (folder / "log.db-wal").unlink(), "log.db-wal is gone: it was removed or moved"),
        (lambda folder: replace(folder / "log.db"), "log.db is another file than the one in use"),
        (lambda folder: shutil.rmtree(folder / "ids"), r"ids/\d+.ids is gone: it was removed or moved"),
        (shutil.rmtree, "log.db is gone: it was removed or moved"),
    ],
    ids=["log", "wal", "replaced", "ids", "folder"],
)
def test_nothing_is_written_to_a_file_that_is_no_longer_in_its_place(
    tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    store, clock = opened(tmp_path / "state")
    harm(tmp_path / "state")
    clock.now_s += LOOK_S
    writes: list[Callable[[], object]] = [
        lambda: store.append(*ids_and_contents([order(100)])),
        lambda: store.append(*ids_and_contents([order(15)])),  # a repeat has a receipt as well
        lambda: store.trim(15, 100),
        lambda: store.save_import(StoredImport(pusher_pb2.ImportStatus(), taken=False)),
        lambda: store.adopt("other", ["one"], "no reason"),
        store.try_room,
    ]
    for write in writes:
        with pytest.raises(LogGoneError, match=told):
            write()
    assert store.ends() == LogEnds(11, 20)
    assert re.search(told, store.damage.in_words(1))
    assert store.damage.count(1) == 1
    store.close()


def test_it_goes_on_once_the_file_is_back(tmp_path: Path) -> None:
    store, clock = opened(tmp_path / "state")
    (tmp_path / "state" / "log.db").rename(tmp_path / "elsewhere")
    clock.now_s += LOOK_S
    store.tend()
    assert "log.db is gone" in store.damage.gone
    (tmp_path / "elsewhere").rename(tmp_path / "state" / "log.db")
    clock.now_s += LOOK_S
    assert list(store.append(*ids_and_contents([order(100)])).positions) == [21]
    assert store.damage.in_words(1) == ""
    store.close()
    again = SqliteLog(tmp_path / "state").claim_alone()
    assert again.ends() == LogEnds(11, 21)
    again.close()


def test_what_was_in_a_wal_that_is_gone_is_brought_into_the_database(tmp_path: Path) -> None:
    """What a kill leaves then is whole."""
    store, clock = opened(tmp_path / "state")
    (tmp_path / "state" / "log.db-wal").unlink()
    clock.now_s += LOOK_S
    store.tend()
    shutil.copytree(tmp_path / "state", tmp_path / "killed")
    killed = SqliteLog(tmp_path / "killed").claim_alone()
    assert killed.ends() == LogEnds(11, 20)
    assert killed.append(*ids_and_contents(orders(0, 20))).duplicates == set(range(20))
    killed.close()
    store.close()


def test_no_reader_opens_what_lies_in_the_place_of_the_log(tmp_path: Path) -> None:
    """It may be another log; and a file that is made by looking would hide that there is none."""
    store, _ = opened(tmp_path / "state")
    (tmp_path / "state" / "log.db").unlink()
    with pytest.raises(LogGoneError, match=r"log\.db is gone"):
        store.read(11, 20, 1 << 20)
    assert not (tmp_path / "state" / "log.db").exists()
    store.close()


@pytest.mark.parametrize("harm", [Path.unlink, replace], ids=["removed", "replaced"])
def test_the_mark_of_what_was_promised_is_made_anew(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    store, clock = opened(tmp_path / "state")
    mark = tmp_path / "state" / "log.end"
    harm(mark)
    clock.now_s += LOOK_S
    store.tend()
    assert read_mark(mark).position == 20
    store.append(*ids_and_contents([order(100)]))
    assert read_mark(mark).position == 21
    assert read_mark(mark).is_of(store.log_id)
    store.close()


async def next_receipt(call: grpc.aio.StreamStreamCall[Any, Any]) -> pusher_pb2.Receipt:
    response = await call.read()
    assert isinstance(response, pusher_pb2.PushUpdatesResponse)
    return response.receipts[0]


async def test_a_pusher_whose_log_is_removed_takes_nothing_and_says_so(tmp_path: Path) -> None:
    """To whoever pushes on an open stream or a new one, in its status, in its readiness and in its metrics."""
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        assert (await push(stub, [order(1)]))[0].code == code_pb2.OK
        call = stub.PushUpdates()
        await call.write(pusher_pb2.PushUpdatesRequest(updates=[order(2)]))
        assert (await next_receipt(call)).code == code_pb2.OK
        for path in tmp_path.glob("log.db*"):
            path.unlink()

        # Nobody pushes: it is found out all the same.
        async def told() -> bool:
            return "log.db is gone" in (await stub.GetPusher(pusher_pb2.GetPusherRequest())).log_damage

        await until(told, "the loss in the status")
        assert "log.db is gone" in (await stub.GetPusher(pusher_pb2.GetPusherRequest())).closed_reason
        await call.write(pusher_pb2.PushUpdatesRequest(updates=[order(3)]))
        receipt = await next_receipt(call)
        assert (receipt.code, receipt.position) == (code_pb2.DATA_LOSS, 0)
        assert "log.db is gone: it was removed or moved while it is in use; put it back" in receipt.message
        with pytest.raises(grpc.aio.AioRpcError, match=r"log\.db is gone") as refused:
            await push(stub, [order(4)])
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        async with aiohttp.ClientSession(f"http://127.0.0.1:{pusher.http.port}") as http:
            ready = await http.get("/readyz")
            assert ready.status == 503
            assert "log.db is gone" in await ready.text()
            metrics = await (await http.get("/metrics")).text()
            assert re.search(r"\nfasttree_pusher_log_damaged_records\S* 1", metrics)
            assert re.search(r"\nfasttree_pusher_closed\S* 1", metrics)
