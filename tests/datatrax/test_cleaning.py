"""What has lain long enough is removed, and nothing else: by age, bounded, and by no clock that has just been set."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from services.datatrax import cleaning
from services.datatrax.cleaning import Kept, SpoolCleaning, clean, old_files
from services.datatrax.settings import SpoolSettings
from services.shared.clock import SettledWallClock
from tests.datatrax.orders_layout import LAYOUT
from tests.waiting import until

DAY_S = 86_400.0
KEPT = Kept(30 * DAY_S, 90 * DAY_S, 7 * DAY_S)
_PLACES = ("done", "refused", "outgoing/sent", "outgoing/refused", "layouts")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for place in _PLACES:
        (tmp_path / place).mkdir(parents=True)
    return tmp_path


def put(spool: Path, *names: str) -> None:
    for name in names:
        (spool / name).write_bytes(b"x")


def old(spool: Path, days: float, kept: Kept = KEPT) -> list[str]:
    """What would go after so many days."""
    found = old_files(spool, spool / "layouts", kept, time.time() + days * DAY_S)
    return sorted(str(each.path.relative_to(spool)) for each in found)


def test_each_place_has_its_age(spool: Path) -> None:
    put(spool, "done/a.jsonl", "done/a.jsonl.receipts", "refused/b.csv", "refused/b.csv.reasons")
    put(spool, "outgoing/sent/c.csv", "outgoing/sent/c.csv.import", "outgoing/refused/d.csv", "waits.jsonl")
    put(spool, "half.tmp", "half.filepart", "outgoing/half.part", "outgoing/.put-7-x.csv", ".taking-x.csv.part")
    put(
        spool,
        "outgoing/waits.csv",
        "outgoing/.packing-x.csv",
        ".taking-x.csv",
        "layouts/orders.toml",
        "outgoing/x.done",
    )
    assert old(spool, 6.9) == []
    unfinished = [".taking-x.csv.part", "half.filepart", "half.tmp", "outgoing/.put-7-x.csv", "outgoing/half.part"]
    assert old(spool, 29) == unfinished
    done = ["done/a.jsonl", "done/a.jsonl.receipts", "outgoing/sent/c.csv", "outgoing/sent/c.csv.import"]
    assert old(spool, 31) == sorted(unfinished + done)
    refused = ["outgoing/refused/d.csv", "refused/b.csv", "refused/b.csv.reasons"]
    assert old(spool, 36_500) == sorted(unfinished + done + refused)
    assert old(spool, 36_500, Kept(0, 0, 0)) == []


def test_a_file_of_long_ago_that_came_today_is_young(spool: Path) -> None:
    put(spool, "old.jsonl")
    os.utime(spool / "old.jsonl", (1, 1))
    os.rename(spool / "old.jsonl", spool / "done/old.jsonl")
    assert old(spool, 29) == []


def test_only_files_go_never_what_links_lead_to(spool: Path, tmp_path: Path) -> None:
    (spool / "done/folder").mkdir()
    (spool / "done/link").symlink_to(tmp_path)
    os.mkfifo(spool / "done/pipe")
    assert old(spool, 1_000) == []
    (spool / "outgoing/sent").rmdir()
    assert old(spool, 1_000) == [], "a folder that is not there is none"


def test_a_name_that_keeps_records_from_counting_twice_stays(spool: Path) -> None:
    (spool / "layouts/orders.toml").write_text(LAYOUT)
    (spool / "layouts/plain.toml").write_text(
        "\n".join(each for each in LAYOUT.splitlines() if "update_id" not in each)
    )
    put(spool, "done/orders.1", "done/plain.1", "done/plain.1.receipts", "done/of-nobody.1")
    now_s = time.time() + 31 * DAY_S
    assert clean(list(old_files(spool, spool / "layouts", KEPT, now_s))) == 4
    left = {each.name: each.stat().st_size for each in (spool / "done").iterdir()}
    assert left == {"plain.1": 0, "of-nobody.1": 0}
    assert list(old_files(spool, spool / "layouts", KEPT, time.time() + 100 * DAY_S)) == [], "once is enough"


def settings(spool: Path, **more: float) -> SpoolSettings:
    return SpoolSettings(spool_folder=str(spool), **more)  # type: ignore[arg-type]


def test_a_round_has_a_bound(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "_A_ROUND", 3)
    put(spool, *[f"done/{number}.jsonl" for number in range(5)])
    cleaner = SpoolCleaning(settings(spool))
    for left in (2, 0, 0):
        cleaner.clean(time.time() + 31 * DAY_S)
        assert len(list((spool / "done").iterdir())) == left
    assert cleaner.removed == 5


async def test_the_service_cleans_by_a_clock_that_has_settled(spool: Path) -> None:
    put(spool, "done/a.jsonl")
    chosen = settings(spool, spool_done_kept_s=0.001, spool_clean_s=0.01)
    for settle_s, is_left in ((1e9, True), (0.0, False)):
        cleaner = SpoolCleaning(chosen, SettledWallClock(settle_s))
        running = asyncio.create_task(cleaner.run())
        if is_left:
            await asyncio.sleep(0.2)
        else:
            await until(lambda: not (spool / "done/a.jsonl").exists(), "the file to be removed")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        assert (spool / "done/a.jsonl").exists() == is_left


async def test_a_folder_that_can_not_be_read_is_told_and_tried_again(
    spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cleaner = SpoolCleaning(settings(spool, spool_clean_s=0.01), SettledWallClock(settle_s=0.0))
    (spool / "done").rmdir()
    (spool / "done").write_bytes(b"")
    running = asyncio.create_task(cleaner.run())
    await until(lambda: len(caplog.records) > 1, "it to be told")
    assert "can't be cleaned" in caplog.text
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
