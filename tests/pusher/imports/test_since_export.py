"""Updates between an export and its upload are named where nobody said which position the export began at."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.v1 import pusher_pb2
from services.pusher.imports.since_export import SinceExport
from services.pusher.log.memory import MemoryLog
from services.shared.wire.record import content_bytes
from tests.fakes.node import FakeNode
from tests.pusher.imports.test_imports import FILE, upload
from tests.pusher.running_pusher import code_of, push, running_pusher, stub_of
from tests.pusher.updates import orders
from tests.waiting import until

HOW_TO_NAME = (
    "an update that the file does not hold is lost: where there is one, take the position that the export began at "
    "(`fasttree status --json`, log.position) and give it with the file"
)


class Time:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def append(log: MemoryLog, first: int, last: int) -> None:
    updates = orders(first, last - first + 1)
    log.append([update.update_id for update in updates], [content_bytes(update) for update in updates])


def grown(time_now: Time, log: MemoryLog, *steps: tuple[float, int]) -> SinceExport:
    """`steps`: at which second, up to which position."""
    since = SinceExport(log, time_now)
    for at_s, last in steps:
        time_now.now_s = 1_000.0 + at_s
        append(log, log.ends().last, last - 1)
        since.look()
    return since


def test_updates_since_the_file_was_written_are_named() -> None:
    log, now = MemoryLog().claim_alone(), Time()
    names = [update.update_id for update in orders(0, 60)]
    since = grown(now, log, (10, 30), (20, 31), (60, 36), (70, 60))
    now.now_s = 1_080.0
    # The file was written at 30 seconds, at 65, at 75, at 5.
    assumed = "nobody said which position the export began at: the file is taken as of 60, and "
    assert since.remark(60, 50.0) == (
        f"{assumed}29 updates came since it was last written, or about then (positions 32 to 60: "
        f"{', '.join(names[31:36])}, …); {HOW_TO_NAME}"
    )
    assert "24 updates came since it was last written, or about then (positions 37 to 60: " in since.remark(60, 15.0)
    assert since.remark(60, 5.0) == ""
    assert "60 updates came" in since.remark(60, 75.0)
    # One whose clock is ahead was written now.
    assert since.remark(60, -3.0) == ""


def test_one_update_is_named_alone_and_an_empty_log_has_none() -> None:
    log, now = MemoryLog().claim_alone(), Time()
    assert SinceExport(log, now).remark(0, 50.0) == ""
    assert SinceExport(log, now).remark(0, None) == ""
    since = grown(now, log, (10, 1))
    name = orders(0, 1)[0].update_id
    assert f"1 update came since it was last written, or about then (position 1: {name}); " in since.remark(1, 5.0)


def test_without_an_age_it_is_said_all_the_same() -> None:
    log, now = MemoryLog().claim_alone(), Time()
    since = grown(now, log, (10, 7))
    assert since.remark(7, None) == (
        f"nobody said which position the export began at: the file is taken as of 7, the log's end; {HOW_TO_NAME}"
    )


def test_what_was_before_this_process_is_known_from_the_log() -> None:
    now = Time()
    log = MemoryLog(clock=now).claim_alone()
    append(log, 0, 9)
    now.now_s += 100.0
    since = grown(now, log, (100, 12))
    assert "2 updates came" in since.remark(12, 50.0)
    assert "12 updates came" in since.remark(12, 150.0)


async def test_an_upload_without_a_position_is_remarked_or_refused(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 50))
        with pytest.raises(grpc.aio.AioRpcError, match="50 updates came") as caught:
            await upload(stub, FILE, file_age_ms=60_000, ask_first=True)
        assert code_of(caught.value) is grpc.StatusCode.FAILED_PRECONDITION
        assert pusher.catalog.newest(1) == []
        manifest = await upload(stub, FILE, file_age_ms=60_000)
        assert "50 updates came since it was last written" in manifest.remark
        assert pusher.catalog.status(1).manifest.remark == manifest.remark
        assert (await upload(stub, FILE, as_of_position=51)).remark == ""
        assert (await upload(stub, FILE, as_of_position=51, ask_first=True)).remark == ""
        assert "the log's end; " in (await upload(stub, FILE)).remark


async def test_the_result_of_an_uploaded_file_has_the_remark(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    settings: dict[str, Any] = {"upload_folder": str(spool), "upload_poll_s": 0.02, "upload_marker_settle_s": 0.05}
    node = await FakeNode("one").start()
    async with running_pusher(tmp_path, [node], **settings) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 3))
        for name, marker in (("unnamed.csv", ""), ("named.csv", "4\n")):
            (spool / name).write_bytes(FILE)
            os.utime(spool / name, (time.time() - 60, time.time() - 60))
            (spool / f"{name}.done").write_text(marker)
            result = spool / "done" / f"{name}.result.txt"
            await until(result.exists, "the result")
            assert ("3 updates came" in result.read_text()) == (name == "unnamed.csv")
        # The remark stays with its end.
        first = spool / "done" / "unnamed.csv.result.txt"
        await until(lambda: first.read_text().startswith("import 1 done"), "its end")
        assert "remark: nobody said which position the export began at" in first.read_text()
        remarks = [status.manifest.remark != "" for status in pusher.catalog.newest(2)]
        assert remarks == [False, True]
        assert pusher.catalog.status(1).state == pusher_pb2.IMPORT_STATE_DONE
    await node.stop()
