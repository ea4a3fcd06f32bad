"""Whether an audit log is as it was written: line by line, file by file, without any service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.shared.security.audit.files import CHAINS, Head, file_of, lines_of, numbers_in, read_head
from services.shared.security.audit.records import FORM, NOTHING_BEFORE, Chained, Kind, hash_of


class Verified(NamedTuple):
    """What was found of one chain."""

    chain: str
    records: int
    #: The number of the first record that is there: those before it went with files that had had their time.
    first: int
    newest: Head
    #: FILE:LINE and what is wrong there, the first place alone; empty: nothing is.
    problem: str


def verify(folder: Path, newest: str = "") -> list[Verified]:
    """Every chain of a folder. `newest`: a hash that somebody noted as the newest one of a chain: it has to be there.
    Raises OSError: what can't be read."""
    found = [_Chain(folder, chain).verified(newest) for chain in CHAINS]
    if newest and not any(each.has for each in found):
        said = f"no line has the hash {newest}: the end that it was the hash of was cut off, or written anew"
        return [each.verified._replace(problem=each.verified.problem or said) for each in found]
    return [each.verified for each in found]


class _Found(NamedTuple):
    verified: Verified
    #: Whether the hash that was asked for is among its lines.
    has: bool


class _Chain:
    """One chain on its way from its first line to its last."""

    def __init__(self, folder: Path, chain: str) -> None:
        self._folder, self._chain = folder, chain
        self._records = self._first = 0
        self._head = Head(0, NOTHING_BEFORE)
        #: How long the line before is, where it is no record: the next one has to say that a crash cut it off.
        self._cut_off = 0
        self._oldest_file = 1

    def verified(self, newest: str) -> _Found:
        has, problem = False, ""
        for problem in self._problems():
            if problem:
                break
            has = has or self._head.hash == newest
        told = Verified(self._chain, self._records, self._first, self._head, problem)
        return _Found(told, has)

    def _problems(self) -> Iterator[str]:
        """After each line, what is wrong there; empty: nothing."""
        numbers = numbers_in(self._folder, self._chain)
        for before, number in zip([numbers[0] - 1, *numbers] if numbers else [], numbers, strict=False):
            path = file_of(self._folder, self._chain, number)
            if number != before + 1:
                yield f"{path}: {number - before - 1} files before it are missing"
            for index, (line, whole) in enumerate(lines_of(path), 1):
                problem = "" if whole else "it is not whole: its end was cut off"
                problem = problem or self._take(line, number)
                yield f"{path}:{index}: {problem}" if problem else ""
        if self._cut_off:
            yield f"{path}: the last line is no record"
        if numbers and numbers[0] > self._oldest_file:
            path = file_of(self._folder, self._chain, self._oldest_file)
            yield f"{path}: {numbers[0] - self._oldest_file} files from this one on are missing"
        marked = read_head(self._folder, self._chain)
        if marked is None:
            yield f"{self._folder}: {self._chain}.head is missing, or is none"
        elif marked.record > self._head.record:
            yield (
                f"{path if numbers else self._folder}: it ends at record {self._head.record}, and had ended at "
                f"{marked.record}: its end was cut off"
            )

    def _take(self, line: bytes, file_number: int) -> str:
        record = _record_of(line)
        hash_ = hash_of(line)
        head, cut_off = self._head, self._cut_off
        self._head, self._cut_off = Head(head.record + 1, hash_), 0
        self._records += 1
        if record is None:
            # Of a crash: the next line says so. Two of them never stand together.
            self._cut_off = len(line)
            return "it is no record of an audit log" if cut_off or not line or not head.record else ""
        self._head = Head(record.record, hash_)
        if not head.record:
            self._first = record.record
            if file_number > 1:  # what it holds on to went with the file before
                return ""
        if cut_off and record.details.get("cut_off_bytes") != cut_off:
            return "the line before it is no record"
        if record.previous != head.hash:
            return f"it does not hold on to the line before: one was changed, taken or put in (record {record.record})"
        if record.record != head.record + 1:
            return f"it is record {record.record} where {head.record + 1} should be"
        if record.kind == Kind.FILE:
            self._oldest_file = int(record.details.get("oldest_file", 1))
        if record.kind == Kind.OPENED and "lost_to" in record.details:
            lost = f"{record.details['lost_after']} to {record.details['lost_to']}"
            return f"when the service opened it, it had lost what it had after record {lost}"
        return ""


def _record_of(line: bytes) -> Chained | None:
    try:
        return FORM.of_json(line).fasttree
    except (msgspec.DecodeError, UnicodeError):
        return None
