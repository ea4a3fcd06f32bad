"""Records for people: the newest first, a page at a time, whatever else is in the files."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from services.shared.security.audit import reading
from services.shared.security.audit.files import OPERATIONS, REFUSALS, file_of, head_of
from services.shared.security.audit.reading import audit_folders, newest_first
from services.shared.security.audit.records import LINE_BYTES_MAX, Entry, Kind, line_of


def write(folder: Path, chain: str, number: int, times: list[int], first: int = 1) -> None:
    """A file of a chain with a record for each time."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line_of(Entry(Kind.ENDED, time, "/a/B"), "pusher", first + at, "0" * 64) for at, time in enumerate(times)]
    file_of(folder, chain, number).write_bytes(b"".join(lines))
    head_of(folder, chain).touch()


def records(place: Path, **asked: int) -> list[tuple[str, int]]:
    found = newest_first(audit_folders(place))
    return [(each.place.chain, each.place.record) for each in islice(found, asked.get("at_most"))]


@pytest.mark.parametrize("block_bytes", [1, 100, 64 << 10])
def test_the_newest_come_first_over_files_chains_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_BYTES", block_bytes)
    write(tmp_path / "a" / "audit", OPERATIONS, 1, [1, 5])
    write(tmp_path / "a" / "audit", OPERATIONS, 2, [7], first=3)
    write(tmp_path / "b" / "audit", REFUSALS, 1, [2, 6])
    head_of(tmp_path / "b" / "audit", OPERATIONS).touch()
    assert records(tmp_path) == [(OPERATIONS, 3), (REFUSALS, 2), (OPERATIONS, 2), (REFUSALS, 1), (OPERATIONS, 1)]


def test_pages_of_any_size_have_each_record_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, OPERATIONS, 1, [1, 1, 2])  # at one time in both
        write(tmp_path / name, OPERATIONS, 2, [3, 9], first=4)
    folders = audit_folders(tmp_path)
    everything = [each.place for each in newest_first(folders)]
    assert len(set(everything)) == 10
    for size in range(1, 11):
        paged = []
        before = None
        while page := [each.place for each in islice(newest_first(folders, before), size)]:
            paged += page
            before = page[-1]
        assert paged == everything


def test_what_a_crash_left_is_no_record_and_hides_none(tmp_path: Path) -> None:
    write(tmp_path, OPERATIONS, 1, [1, 2])
    with file_of(tmp_path, OPERATIONS, 1).open("ab") as file:
        file.write(b"\n\xff{" + b"x" * 3 * LINE_BYTES_MAX)
    assert records(tmp_path) == [(OPERATIONS, 2), (OPERATIONS, 1)]
    assert records(tmp_path, at_most=1) == [(OPERATIONS, 2)]
