"""Ids for good: keys, runs and merges against a plain dict; damage, crashes and the room that they take."""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
import string
from bisect import bisect_left
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.pusher.log.ids import archive as archive_module
from services.pusher.log.ids.archive import MERGE_RUNS, IdArchive, RunRow
from services.pusher.log.ids.filter import IdFilter
from services.pusher.log.ids.keys import ID_BYTES_MAX, content_hash, keys_of
from services.pusher.log.ids.runs import Entries, Run, write_run
from services.pusher.log.inspection import verify_log
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogDamagedError, LogEnds
from tests.pusher.updates import ids_and_contents, order, orders

PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))
any_ids = st.lists(st.text(PRINTABLE, min_size=1, max_size=ID_BYTES_MAX), min_size=1, max_size=40, unique=True)


@given(any_ids)
@settings(max_examples=60, deadline=None)
def test_a_key_is_that_of_the_id_alone_whoever_is_beside_it(update_ids: list[str]) -> None:
    together = keys_of(update_ids)
    for index, update_id in enumerate(update_ids):
        alone = keys_of([update_id])
        assert (alone.high[0], alone.low[0]) == (together.high[index], together.low[index])
    assert len({*zip(together.high.tolist(), together.low.tolist(), strict=True)}) == len(update_ids)


def test_keys_stay_what_they_are() -> None:
    """They are on disks: another version must find what this one wrote."""
    keys = keys_of(["order-1", "x", "~" * ID_BYTES_MAX])
    assert keys.high.tolist() == [5971656806047840182, 12618132181988028761, 8402001470132673671]
    assert keys.low.tolist() == [1157824516, 2312663483, 2604729064]
    assert content_hash(b"a") == 3405396810240292928


def test_near_ids_have_far_keys_and_the_filter_answers_few_of_others() -> None:
    ids = [f"order-{number}" for number in range(50_000)]
    keys = keys_of(ids)
    spread, _ = np.histogram(keys.high >> np.uint64(56), bins=256, range=(0, 256))
    assert spread.min() > 100
    assert spread.max() < 300
    order = np.lexsort((keys.low, keys.high))
    kept = IdFilter(len(ids))
    kept.add(type(keys)(keys.high[order], keys.low[order]))
    assert kept.may_hold(keys).tolist() == list(range(len(ids)))
    assert len(kept.may_hold(keys_of([f"other-{number}" for number in range(50_000)]))) < 5
    assert 4 * len(ids) <= kept.size_bytes <= 8 * len(ids)


def kept_in(folder: Path, batches: int, seed: int = 1) -> tuple[IdArchive, list[RunRow], dict[str, tuple[int, int]]]:
    """An archive of ids of every length, merged as it grows; its rows, and what it should know."""
    drawn = random.Random(seed)
    archive, rows, known = IdArchive(folder, []), list[RunRow](), dict[str, tuple[int, int]]()
    for _ in range(batches):
        ids = [
            f"{len(known) + number}-" + "".join(drawn.choices(string.ascii_letters, k=drawn.randrange(50)))
            for number in range(drawn.randrange(1, 300))
        ]
        first = len(known) + 1
        contents = [f"content of {update_id}".encode() for update_id in ids]
        row = archive.write(ids, contents, first)
        archive.take(row)
        rows.append(row)
        known |= {each: (first + at, content_hash(contents[at])) for at, each in enumerate(ids)}
        while (merge := archive.merge_due()) is not None:
            merged = archive.merge(merge)
            archive.replace(merge, merged)
            rows = [each for each in rows if each not in merge.olds] + [merged]
    return archive, rows, known


def test_every_id_is_found_after_merges_and_a_restart_and_no_other(tmp_path: Path) -> None:
    archive, rows, known = kept_in(tmp_path, 80)
    assert archive.count == len(known)
    assert len(rows) < 80 // MERGE_RUNS
    again = IdArchive(tmp_path, rows)
    for each in (archive, again):
        assert each.find(list(known)) == known
        assert each.find([f"no {number}" for number in range(5_000)]) == {}
    again.own(0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{row.number:08d}.ids" for row in rows)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 30 * len(known) + 64 * len(rows)


def test_a_filter_that_gets_full_is_made_anew_beside_a_merge(tmp_path: Path) -> None:
    """And has what is written in between."""
    archive = IdArchive(tmp_path, [])
    ids = [f"order-{number}" for number in range(2_000)]

    def keep(first: int, last: int) -> None:
        archive.take(archive.write(ids[first:last], [b""] * (last - first), first + 1))

    for first in range(0, 1_600, 400):
        keep(first, first + 400)
    before = archive._filter.capacity
    merge = archive.merge_due()
    assert merge is not None
    merged = archive.merge(merge)
    keep(1_600, 2_000)
    assert archive._filter.capacity == before
    archive.replace(merge, merged)
    assert archive._filter.capacity == 2 * before
    assert len(archive.find(ids)) == len(ids)


@pytest.mark.parametrize("pieces", [0, 1, 4, 5, 7])
def test_a_merge_that_is_over_before_it_is_done_leaves_nothing_and_may_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """While the larger filter is made (of four runs), and while the new run is written."""
    monkeypatch.setattr(archive_module, "_PIECE", 400)
    archive = IdArchive(tmp_path, [])
    ids = [f"order-{number}" for number in range(1_600)]
    for first in range(0, 1_600, 400):
        archive.take(archive.write(ids[first : first + 400], [b""] * 400, first + 1))
    before, merge, asked = sorted(tmp_path.iterdir()), archive.merge_due(), itertools.count()
    assert merge is not None
    with pytest.raises(InterruptedError):
        archive.merge(merge, lambda: next(asked) >= pieces)
    assert sorted(tmp_path.iterdir()) == before
    archive.replace(merge, archive.merge(merge))
    assert len(archive.find(ids)) == len(ids)


@pytest.mark.parametrize("spread", [1, 3, 1 << 40, (1 << 64) // 20_001], ids=["next", "near", "half", "evenly"])
@pytest.mark.parametrize("first", [0, 1 << 63, (1 << 64) - 20_000], ids=["low", "middle", "high"])
def test_a_search_finds_its_place_whatever_the_keys_are(tmp_path: Path, spread: int, first: int) -> None:
    """It begins where an evenly spread key would be."""
    keys = sorted({(first + number * spread) % (1 << 64) for number in range(20_000)})
    high = np.array(keys, dtype=np.uint64)
    low, rest = np.arange(len(keys), dtype=np.uint32), np.arange(len(keys), dtype=np.uint64)
    write_run(tmp_path / "run", len(keys), iter([Entries(high, low, rest + np.uint64(1), rest)]))
    run = Run(tmp_path / "run")
    for at in {0, 1, len(keys) - 1, *range(0, len(keys), 997)}:
        assert run.find(keys[at], at) == (at + 1, at)
        assert run.find(keys[at], at + 1) is None
        for beside in (keys[at] - 1, keys[at] + 1):
            if 0 <= beside < 1 << 64:
                assert run.index_of(beside) == bisect_left(keys, beside)


def test_a_flipped_byte_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    _, rows, known = kept_in(tmp_path, 1)
    path = tmp_path / f"{rows[0].number:08d}.ids"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        data = bytearray(whole)
        data[at] ^= 0x10
        path.write_bytes(data)
        found = known
        with contextlib.suppress(LogDamagedError):
            found = IdArchive(tmp_path, rows).find(list(known))
        assert found == known, f"byte {at}"


def test_what_is_cut_short_or_gone_is_told_at_the_start(tmp_path: Path) -> None:
    _, rows, _ = kept_in(tmp_path, 1)
    path = tmp_path / f"{rows[0].number:08d}.ids"
    for data in (path.read_bytes()[:-1], b"", b"no run at all, but long enough to be looked at"):
        path.write_bytes(data)
        with pytest.raises(LogDamagedError):
            Run(path)
    path.unlink()
    with pytest.raises(LogDamagedError, match="can't be read"):
        IdArchive(tmp_path, rows)


def test_a_file_that_a_crash_left_goes_and_the_records_are_still_there(tmp_path: Path) -> None:
    store = SqliteLog(tmp_path).claim_alone()
    store.append(*ids_and_contents(orders(0, 100)))
    store.trim(50, 100)
    kept = sorted((tmp_path / "ids").iterdir())
    # As after a crash between the file and the transaction that counts it.
    (tmp_path / "ids" / "00000099.ids").write_bytes(kept[0].read_bytes())
    (tmp_path / "ids" / "00000100.ids.part").write_bytes(b"half")
    store.close()
    again = SqliteLog(tmp_path).claim_alone()
    assert sorted((tmp_path / "ids").iterdir()) == kept
    assert list(again.append(*ids_and_contents(orders(0, 100))).positions) == list(range(1, 101))
    again.close()


def test_a_damaged_record_is_trimmed_and_its_id_is_still_never_taken_again(tmp_path: Path) -> None:
    store = SqliteLog(tmp_path).claim_alone()
    store.append(*ids_and_contents(orders(0, 100)))
    database = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    database.execute("UPDATE log SET frame = x'00' WHERE position = 7")
    database.close()
    assert store.trim(50, 100) == 49
    assert store.ends() == LogEnds(50, 100)
    with pytest.raises(LogDamagedError, match="position 7"):
        store.append(*ids_and_contents([order(6)]))
    assert store.append(*ids_and_contents([order(7)])).duplicates == {0}
    store.close()


def test_what_is_tried_again_leaves_one_file(tmp_path: Path) -> None:
    """As where the database is full: each try writes its file, and none of them counts."""
    archive = IdArchive(tmp_path, [])
    for count in (1, 2, 2):
        row = archive.write([f"order-{number}" for number in range(count)], [b""] * count, 1)
    archive.take(row)
    for number in range(2, 1 + MERGE_RUNS):
        archive.take(archive.write([f"order-{number}"], [b""], number + 1))
    merge = archive.merge_due()
    assert merge is not None
    archive.merge(merge)
    archive.take(archive.write(["order-5"], [b""], 6))
    assert archive.merge_due() == merge
    archive.replace(merge, archive.merge(merge))
    assert archive.merge_due() is None
    assert len(list(tmp_path.iterdir())) == MERGE_RUNS + 2
    assert len(archive.find([f"order-{number}" for number in range(10)])) == MERGE_RUNS + 2
    # Whoever claims anew has numbers of its own.
    archive.write(["order-6"], [b""], 7)
    archive.own(1 << 32)
    assert archive.write(["order-6"], [b""], 7) == RunRow(1 << 32, 0)


def test_damaged_ids_are_found_by_the_check_of_the_log(tmp_path: Path) -> None:
    store = SqliteLog(tmp_path).claim_alone()
    store.append(*ids_and_contents(orders(0, 100)))
    store.trim(50, 100)
    store.close()
    assert verify_log(tmp_path).problems == []
    (path,) = (tmp_path / "ids").iterdir()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    (problem,) = verify_log(tmp_path).problems
    assert "00000001.ids" in problem


def test_a_log_of_version_1_is_taken_over(tmp_path: Path) -> None:
    """Whose ids of trimmed records are gone: from now on, they stay."""
    store = SqliteLog(tmp_path).claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    store.close()
    database = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    database.executescript("DROP TABLE id_runs; DROP TABLE replaced_logs; PRAGMA user_version = 1;")
    database.close()
    assert verify_log(tmp_path).problems == []
    again = SqliteLog(tmp_path).claim_alone()
    again.trim(11, 100)
    assert list(again.append(*ids_and_contents(orders(0, 21))).positions) == list(range(1, 22))
    again.close()
