"""A chain on disk: what is written, how files follow each other, and every way in which one is no more what it was."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from services.shared.security.audit.chain import AuditError, ChainFile
from services.shared.security.audit.files import OPERATIONS, REFUSALS, file_of, head_of, numbers_in
from services.shared.security.audit.records import Entry, Kind
from services.shared.security.audit.verifying import Verified, verify

FILE_BYTES = 2_000


def opened(folder: Path, kept: int = 1_000) -> ChainFile:
    folder.mkdir(exist_ok=True)
    other = ChainFile(folder, REFUSALS, "coordinator", FILE_BYTES, kept)
    other.open(0.0)
    other.close()
    chain = ChainFile(folder, OPERATIONS, "coordinator", FILE_BYTES, kept)
    chain.open(0.0)
    return chain


def entry(number: int) -> Entry:
    return Entry(Kind.BEGUN, float(number), "/fasttree.v1.CoordinatorService/Pause", f"spiffe://a/operator/o{number}")


def written(folder: Path, records: int = 30, kept: int = 1_000) -> None:
    chain = opened(folder, kept)
    for number in range(records):
        chain.append([entry(number)], float(number))
    chain.close()


def judged(folder: Path, newest: str = "") -> Verified:
    found, other = verify(folder, newest)
    assert (found.chain, other.chain) == (OPERATIONS, REFUSALS)
    return found


def test_lines_are_in_the_form_of_a59_and_hold_on_to_each_other(tmp_path: Path) -> None:
    written(tmp_path, 3)
    lines = [json.loads(line) for line in file_of(tmp_path, OPERATIONS, 1).read_text().splitlines()]
    assert lines[2]["grpc_audit_log"] == {
        "timestamp": "1970-01-01T00:00:00.000000Z",
        "rpc_method": "/fasttree.v1.CoordinatorService/Pause",
        "principal": "spiffe://a/operator/o0",
        "policy_name": "",
        "matched_rule": "",
        "authorized": True,
    }
    assert [line["fasttree"]["record"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["fasttree"]["kind"] for line in lines[:2]] == [Kind.FILE, Kind.OPENED]
    found = judged(tmp_path)
    assert (found.problem, found.records) == ("", 5)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_are_bounded_in_size_and_number_and_carry_the_chain_on(tmp_path: Path) -> None:
    written(tmp_path, 100, kept=3)
    numbers = numbers_in(tmp_path, OPERATIONS)
    assert len(numbers) == 3
    assert numbers[0] > 1
    assert all(file_of(tmp_path, OPERATIONS, number).stat().st_size < FILE_BYTES + 1_000 for number in numbers)
    found = judged(tmp_path)
    assert found.problem == ""
    assert found.first > 1
    assert found.newest.record == found.first + found.records - 1


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    for _ in range(3):
        written(tmp_path, 5)
    found = judged(tmp_path)
    assert (found.problem, found.newest.record) == ("", found.records)
    assert found.records >= 1 + 3 * 6
    assert judged(tmp_path, found.newest.hash).problem == ""
    assert "no line has the hash" in judged(tmp_path, "0" * 64).problem


def last_file(folder: Path) -> Path:
    return file_of(folder, OPERATIONS, numbers_in(folder, OPERATIONS)[-1])


def edit(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = file_of(folder, OPERATIONS, 2)
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return damage


def cut(size: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        os.truncate(last_file(folder), last_file(folder).stat().st_size - size)

    return damage


def exchange(folder: Path) -> None:
    second, third = file_of(folder, OPERATIONS, 2), file_of(folder, OPERATIONS, 3)
    second.rename(folder / "x")
    third.rename(second)
    (folder / "x").rename(third)


def remove_all(folder: Path) -> None:
    for path in folder.glob(f"{OPERATIONS}-*"):
        path.unlink()


def removal(number: int) -> Callable[[Path], None]:
    return lambda folder: file_of(folder, OPERATIONS, number).unlink()


#: What is done to a log, and where it is found and how.
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a changed name": (edit(lambda lines: [lines[0], lines[1].replace(b"/o", b"/p"), *lines[2:]]), ".jsonl:3: it does"),
    "a line taken away": (edit(lambda lines: lines[:1] + lines[2:]), "02.jsonl:2: it does not hold on"),
    "two lines swapped": (edit(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]), "02.jsonl:2: it does"),
    "a line twice": (edit(lambda lines: [lines[0], lines[1], *lines[1:]]), "02.jsonl:3: it does not hold on"),
    "a line that is none": (edit(lambda lines: [lines[0], b"{}\n", *lines[1:]]), "02.jsonl:3: the line before"),
    "an empty line": (edit(lambda lines: [lines[0], b"\n", *lines[1:]]), "02.jsonl:2: it is no record"),
    "a file taken away": (removal(2), "1 files before it are missing"),
    "the first file taken away": (removal(1), "1 files from this one on"),
    "the last file taken away": (lambda folder: last_file(folder).unlink(), "its end was cut off"),
    "two files exchanged": (exchange, "02.jsonl:1: it does not hold on"),
    "all files taken away": (remove_all, "it ends at record 0"),
    "the tail cut within a line": (cut(10), "it is not whole"),
    "the head taken away": (lambda folder: head_of(folder, OPERATIONS).unlink(), "head is missing"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_not_as_it_was_is_named(tmp_path: Path, what: str) -> None:
    written(tmp_path)
    assert len(numbers_in(tmp_path, OPERATIONS)) > 4
    assert judged(tmp_path).problem == ""
    damage, said = DAMAGE[what]
    damage(tmp_path)
    assert said in judged(tmp_path).problem


def cut_tail(folder: Path, lines: int = 2) -> None:
    path = last_file(folder)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-lines]))


def test_a_tail_that_is_cut_off_is_found_before_and_after_the_service_goes_on(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    for number in range(3):
        chain.append([entry(number)], 0.0)
    chain.close()
    cut_tail(tmp_path)
    assert "and had ended at 5: its end was cut off" in judged(tmp_path).problem
    written(tmp_path, 1)
    assert "had lost what it had after record 3 to 5" in judged(tmp_path).problem


def test_whoever_has_the_newest_hash_finds_a_chain_that_was_written_anew(tmp_path: Path) -> None:
    written(tmp_path / "one", 5)
    newest = judged(tmp_path / "one").newest.hash
    written(tmp_path / "other", 4)
    assert judged(tmp_path / "other").problem == ""
    assert "no line has the hash" in judged(tmp_path / "other", newest).problem


def test_what_a_crash_cut_off_stays_in_the_chain(tmp_path: Path) -> None:
    written(tmp_path, 2)
    with last_file(tmp_path).open("ab") as file:
        file.write(b'{"grpc_audit_log": {"timest')
    assert "not whole" in judged(tmp_path).problem
    written(tmp_path, 2)
    assert judged(tmp_path).problem == ""


def test_it_has_one_writer(tmp_path: Path) -> None:
    chain = opened(tmp_path)
    with pytest.raises(AuditError, match=r"another process's: end that, or set audit\.folder"):
        ChainFile(tmp_path, OPERATIONS, "pusher", FILE_BYTES, 3).open(0.0)
    chain.append([entry(1)], 0.0)
    chain.close()


@pytest.mark.parametrize("what", ["renamed", "removed", "written to", "another"])
def test_what_is_written_can_be_found(tmp_path: Path, what: str) -> None:
    chain = opened(tmp_path)
    path = last_file(tmp_path)
    if what == "renamed":
        path.rename(tmp_path / "x")
    elif what == "removed":
        path.unlink()
    elif what == "written to":
        path.write_bytes(path.read_bytes() + b"{}\n")
    else:
        path.rename(tmp_path / "x")
        path.write_bytes((tmp_path / "x").read_bytes())
    with pytest.raises(OSError, match="operations-00000001"):
        chain.append([entry(1)], 0.0)
    assert not chain.is_open
    chain.open(1.0)
    chain.append([entry(2)], 1.0)
    chain.close()


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"")
    folder = tmp_path / "audit"
    written(folder, 1)
    path = last_file(folder)
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(OSError, match="operations-00000001"):
        ChainFile(folder, OPERATIONS, "pusher", FILE_BYTES, 3).open(0.0)
    assert target.read_bytes() == b""


@pytest.mark.parametrize("which", ["operations-00000001.jsonl", "operations.head"])
def test_nobody_waits_for_what_somebody_put_in_a_file_s_place(tmp_path: Path, which: str) -> None:
    written(tmp_path, 3)
    kept = (tmp_path / which).rename(tmp_path / "kept")
    os.mkfifo(tmp_path / which)
    chain = ChainFile(tmp_path, OPERATIONS, "coordinator", FILE_BYTES, 1)
    with pytest.raises(OSError, match="no regular file"):
        chain.open(0.0)
    assert not chain.is_open
    if which == "operations.head":
        assert judged(tmp_path).problem.endswith("operations.head is missing, or is none")
    else:
        with pytest.raises(OSError, match="no regular file"):
            judged(tmp_path)
    kept.replace(tmp_path / which)
    chain.open(0.0)
    chain.close()
    assert judged(tmp_path).problem == ""
