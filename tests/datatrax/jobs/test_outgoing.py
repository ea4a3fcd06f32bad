"""The folder of what is to be sent: what is whole, what is packed, and a run that dies at any step."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, Endpoints, Retries
from fasttree.v1 import types_pb2
from services.datatrax.jobs import outgoing as room
from services.datatrax.jobs.export_transfer import TransferOptions, Transferred, transfer
from services.datatrax.jobs.outgoing import Outgoing, OutgoingError
from services.pusher.app import Pusher
from services.shared.packing import Packing
from tests.fakes.import_file import csv_of
from tests.pusher.running_pusher import running_pusher
from tests.updates import enrolled

MEMBERS = csv_of([("a", "", "1.00"), ("b", "a", "2.00")])
GZIP = TransferOptions(packing=Packing.GZIP)


@pytest.fixture
def outgoing(tmp_path: Path) -> Outgoing:
    return Outgoing(tmp_path / "FT50201")


def drop(outgoing: Outgoing, name: str, content: bytes = MEMBERS, marker: bytes | None = b"") -> None:
    """As a program does."""
    if marker is not None:
        (outgoing.folder / f"{name}.done").write_bytes(marker)
    outgoing.path(name).write_bytes(content)


def left(outgoing: Outgoing) -> list[str]:
    """What lies there beside its folders."""
    return sorted(each.name for each in outgoing.folder.iterdir() if each.is_file())


# -- what is whole


def test_a_file_is_whole_with_its_marker_or_once_it_rests(outgoing: Outgoing) -> None:
    drop(outgoing, "now.csv", marker=None)
    drop(outgoing, "members.csv.tmp", marker=None)
    drop(outgoing, ".hidden", marker=None)
    drop(outgoing, "said.csv", marker=b"42\n")
    look = outgoing.look(time.time())
    assert [(each.name, each.as_of_position) for each in look.whole] == [("said.csv", 42)]
    assert look.unfinished == 2
    later = outgoing.look(time.time() + 31)
    assert {(each.name, each.as_of_position) for each in later.whole} == {("now.csv", None), ("said.csv", 42)}


@pytest.mark.parametrize(
    ("marker", "why"),
    [
        (b"x", "no position"),
        (b"-1", "no position"),
        (b"9" * 19, "no position"),
        (b"1" * 65, "more than 64 bytes"),
        (b"4\0", "UTF-16"),
    ],
)
def test_a_marker_that_is_none_refuses_its_file(outgoing: Outgoing, marker: bytes, why: str) -> None:
    drop(outgoing, "members.csv", marker=marker)
    look = outgoing.look(time.time())
    assert look.whole == []
    assert [name for name, reason in look.unfit if why in reason] == ["members.csv"]


def test_what_is_no_file_is_unfit(outgoing: Outgoing, tmp_path: Path) -> None:
    os.mkfifo(outgoing.path("pipe.csv"))
    outgoing.path("link.csv").symlink_to(tmp_path)
    outgoing.path("a\nb.csv").write_bytes(b"x")
    outgoing.path("linked.csv").write_bytes(b"x")
    outgoing.path("linked.csv.done").symlink_to("/etc/passwd")
    assert {name for name, _ in outgoing.look(time.time()).unfit} == {"pipe.csv", "link.csv", "a\nb.csv", "linked.csv"}


def test_what_can_not_be_put_there_says_why(outgoing: Outgoing, tmp_path: Path) -> None:
    for name, why in (("x.tmp", "not whole"), (".x", "not whole"), ("x.done", "not whole"), ("x" * 199, "200 bytes")):
        (tmp_path / name).write_bytes(gzip.compress(MEMBERS) if len(name) < 9 else MEMBERS)
        with pytest.raises(OutgoingError, match=why):
            outgoing.put(tmp_path / name, Packing.GZIP, None)
    for endless in ("/dev/zero", tmp_path / "pipe.csv"):
        if not Path(endless).exists():
            os.mkfifo(endless)
        with pytest.raises(OSError, match="it is no regular file"):
            outgoing.put(Path(endless), Packing.NONE, None)
    assert left(outgoing) == []
    (tmp_path / "members.csv").write_bytes(MEMBERS)
    assert outgoing.put(tmp_path / "members.csv", Packing.NONE, 7) == "members.csv"
    with pytest.raises(OutgoingError, match="waits there already"):
        outgoing.put(tmp_path / "members.csv", Packing.NONE, 7)
    assert left(outgoing) == ["members.csv", "members.csv.done"]


@pytest.mark.parametrize("packing", [Packing.GZIP, Packing.ZIP, Packing.ZSTD])
def test_what_is_put_there_is_packed_on_the_way_and_only_once(
    outgoing: Outgoing, tmp_path: Path, packing: Packing
) -> None:
    (tmp_path / "members.csv").write_bytes(MEMBERS)
    name = outgoing.put(tmp_path / "members.csv", packing, None)
    assert outgoing.path(name).read_bytes().startswith(packing.value)
    (tmp_path / "again.csv.gz").write_bytes(gzip.compress(MEMBERS))
    assert outgoing.put(tmp_path / "again.csv.gz", packing, None) == "again.csv.gz"
    waiting = next(each for each in outgoing.look(time.time()).whole if each.name == name)
    assert outgoing.packed(waiting, packing) == waiting


def test_packing_takes_the_marker_along_and_no_others_name(outgoing: Outgoing) -> None:
    drop(outgoing, "members.csv", marker=b"5")
    (waiting,) = outgoing.look(time.time()).whole
    packed = outgoing.packed(waiting, Packing.GZIP)
    assert (packed.name, packed.as_of_position) == ("members.csv.gz", 5)
    assert left(outgoing) == ["members.csv.gz", "members.csv.gz.done"]
    drop(outgoing, "members.csv", marker=b"6")
    (waiting,) = [each for each in outgoing.look(time.time()).whole if each.name == "members.csv"]
    assert outgoing.packed(waiting, Packing.GZIP) == waiting, "that name is another file's"


def test_a_marker_that_stays_alone_is_of_no_later_file(outgoing: Outgoing) -> None:
    outgoing.path("members.csv.done").write_bytes(b"5")
    outgoing.settle(time.time())
    assert left(outgoing) == ["members.csv.done"], "its file may come in a moment"
    outgoing.settle(time.time() + 3_601)
    assert left(outgoing) == []


# -- a run


async def run(pusher: Pusher, outgoing: Outgoing, options: TransferOptions = GZIP) -> Transferred:
    async with Client(endpoints_of(pusher)) as client:
        return await transfer(outgoing, client, options)


def endpoints_of(pusher: Pusher) -> Endpoints:
    address = f"127.0.0.1:{pusher.server.port}"
    return Endpoints(pusher=address, vip=address)


def imports_of(pusher: Pusher) -> list[types_pb2.ImportManifest]:
    return [status.manifest for status in pusher.catalog.newest(10)]


async def test_files_go_in_their_order_as_of_what_they_say(outgoing: Outgoing, tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, Client(endpoints_of(pusher)) as client:
        drop(outgoing, "b-older.csv", marker=b"0")
        drop(outgoing, "a-newer.csv", csv_of([("c", "", "1.00")]), marker=b"1")
        os.utime(outgoing.path("b-older.csv"), (time.time() - 60,) * 2)
        assert [receipt.code async for receipt in client.push([enrolled("x")])] == [0]
        done = await run(pusher, outgoing)
        assert list(done.sent) == ["b-older.csv.gz", "a-newer.csv.gz"]
        manifests = sorted(imports_of(pusher), key=lambda each: each.import_id)
        assert [each.as_of_position for each in manifests] == [0, 1]
        assert (outgoing.folder / "sent" / "a-newer.csv.gz.import").read_bytes().startswith(b'{"import_id":2,')
        assert left(outgoing) == []
        again = await run(pusher, outgoing)
        assert (again.sent, again.is_good) == ({}, True)


async def test_what_can_not_be_taken_is_set_aside_with_the_reason_and_holds_up_no_other(
    outgoing: Outgoing, tmp_path: Path
) -> None:
    drop(outgoing, "empty.csv", b"")
    drop(outgoing, "marked.csv", marker=b"soon")
    outgoing.path("linked.csv").symlink_to(tmp_path / "log.db")
    drop(outgoing, "good.csv")
    async with running_pusher(tmp_path) as pusher:
        done = await run(pusher, outgoing, TransferOptions())
    assert (list(done.sent), set(done.refused)) == (["good.csv"], {"empty.csv", "marked.csv", "linked.csv"})
    assert not done.is_good
    reasons = {each.name: each.read_text() for each in (outgoing.folder / "refused").glob("*.reasons")}
    assert "the file is empty" in reasons["empty.csv.reasons"]
    assert "no position" in reasons["marked.csv.reasons"]
    assert all(text.endswith("Mend it and put it here again.\n") for text in reasons.values())


async def test_while_the_pusher_is_away_files_wait(outgoing: Outgoing, tmp_path: Path) -> None:
    drop(outgoing, "members.csv")
    async with Client(Endpoints(pusher="127.0.0.1:1", vip="127.0.0.1:1"), retries=Retries(patience_s=0.2)) as client:
        done = await transfer(outgoing, client, TransferOptions(packing=Packing.GZIP, patience_s=0.2))
    assert done.problem.startswith("members.csv waits: ")
    assert left(outgoing) == ["members.csv.gz", "members.csv.gz.done"]
    async with running_pusher(tmp_path) as pusher:
        assert list((await run(pusher, outgoing)).sent) == ["members.csv.gz"]


async def test_a_profile_that_is_not_kept_is_this_runs_fault_and_no_files(outgoing: Outgoing, tmp_path: Path) -> None:
    drop(outgoing, "members.csv")
    async with running_pusher(tmp_path) as pusher:
        done = await run(pusher, outgoing, TransferOptions(profile_name="nobody"))
    assert ("nobody" in done.problem, done.refused) == (True, {})
    assert left(outgoing) == [".sending-members.csv", "members.csv", "members.csv.done"]


# -- whatever dies


class KilledError(BaseException):
    """As if the process had ended here."""


_STEPS = ("write_durably", "replace_durably", "remove_durably", "sync_folder", "pack")


def dies_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """The run dies before its step of that number, and takes none after it; whether it came so far."""
    taken, died = [0], list[int]()

    def dying(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            taken[0] += 1
            if died or taken[0] >= number:
                died.append(number)
                raise KilledError
            return step(*arguments, **more)

        return wrapped

    for name in _STEPS:
        monkeypatch.setattr(room, name, dying(getattr(room, name)))
    monkeypatch.setattr(os, "link", dying(os.link))
    monkeypatch.setattr(Client, "upload_import", dying(Client.upload_import))
    return lambda: bool(died)


@pytest.mark.timeout(300)
async def test_a_run_that_dies_at_any_step_sends_each_file_once_in_the_end(tmp_path: Path) -> None:
    reached = 0
    for number in range(1, 60):
        folder = tmp_path / str(number)
        folder.mkdir()
        outgoing = Outgoing(folder / "FT50201")
        drop(outgoing, "members.csv", marker=b"0")
        async with running_pusher(folder) as pusher:
            with pytest.MonkeyPatch.context() as patched:
                died = dies_at(number, patched)
                with contextlib.suppress(KilledError):
                    await run(pusher, outgoing)
            if not died():
                break
            reached = number
            # What has lost its marker by then is whole once it has rested.
            for each in outgoing.folder.glob("members*"):
                os.utime(each, (time.time() - 60,) * 2)
            await run(pusher, outgoing)
            manifests = imports_of(pusher)
            assert [each.as_of_position for each in manifests] == [0], f"died at step {number}"
            kept = sorted(each.name for each in (outgoing.folder / "sent").iterdir())
            assert kept[:2] == ["members.csv.gz", "members.csv.gz.import"], f"died at step {number}"
            assert gzip.decompress((outgoing.folder / "sent/members.csv.gz").read_bytes()) == MEMBERS
            assert left(outgoing) == [], f"died at step {number}"
    assert 10 <= reached < 59
