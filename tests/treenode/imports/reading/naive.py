"""A slow, plain reader of CSV imports: what the fast one must agree with, on good rows and on bad ones."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]{1,2})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ID = re.compile(r"[!-~]([ -~]{0,30}[!-~])?")
_LEGS = {"L": "1", "R": "2", "l": "1", "r": "2"}
_KINDS = {"": 1, "d": 1, "distributor": 1, "c": 2, "customer": 2}
_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True)
class NaiveMember:
    """A member as the file has it."""

    sponsor_id: str
    placement_id: str
    placement_leg: int
    kind: int
    status: str
    rank: int
    joined_on: int | None
    pv: int
    note: str


@dataclass(frozen=True)
class NaiveFile:
    """What a file holds: members by id where it is good, else (line, column) of each wrong row."""

    members: dict[str, NaiveMember]
    wrong: list[tuple[int, str]]


def _day(text: str) -> int | None:
    if not text:
        return None
    if not _DAY.fullmatch(text):
        raise ValueError(text)
    return (datetime.date.fromisoformat(text) - _EPOCH).days


def _amount(text: str) -> int:
    if text and not _AMOUNT.fullmatch(text):
        raise ValueError(text)
    hundredths = int(Decimal(text or "0") * 100)
    if abs(hundredths) > 2**63 - 1:
        raise ValueError(text)
    return hundredths


def _whole(text: str, least: int, most: int) -> int:
    if text and not re.fullmatch(r"[0-9]+", text):
        raise ValueError(text)
    if text and not least <= int(text) <= most:
        raise ValueError(text)
    return int(text or 0)


def _is_wrong(column: str, text: str) -> bool:
    """Whether a field is wrong by itself."""
    try:
        if column == "pv":
            _amount(text)
        elif column == "rank":
            _whole(text, 0, 32767)
        elif column == "joined_on":
            _day(text)
        elif column == "placement_leg":
            _whole(_LEGS.get(text, text), 0, 2**31 - 1)
        elif column == "kind":
            return text.lower() not in _KINDS
        elif column == "note":
            return len(text.encode()) > 1024 or re.search(r"[^\t\r\n -~\x80-\U0010ffff]", text) is not None
        elif column == "status":
            return not re.fullmatch(r"[ -~]{0,16}", text)
        else:
            return not _ID.fullmatch(text) and (bool(text) or column == "member_id")
    except ValueError:
        return True
    return False


def _read(row: dict[str, str], column: str) -> str:
    """A field as other rows see it: nothing, where it is wrong."""
    text = row.get(column, "")
    return "" if _is_wrong(column, text) else text


def _on_cycle(member_id: str, above: dict[str, str]) -> bool:
    seen = set()
    walk = above.get(member_id, "")
    while walk and walk not in seen and walk != member_id:
        seen.add(walk)
        walk = above.get(walk, "")
    return walk == member_id


def _between_rows(rows: list[tuple[int, dict[str, str]]]) -> Iterator[tuple[int, str]]:
    """Faults between rows, as (line, column), in the order in which a row's first one counts."""
    first: dict[str, int] = {}
    readable = [(line, row) for line, row in rows if _read(row, "member_id")]
    for line, row in readable:
        if row["member_id"] in first:
            yield line, "member_id"
        first.setdefault(row["member_id"], line)
    for column in ("sponsor_id", "placement_id"):
        links = {line: _read(row, column) for line, row in rows}
        if len(readable) == len(rows):
            yield from ((line, column) for line, above in links.items() if above and above not in first)
        above = {member_id: links[line] for member_id, line in first.items()}
        yield from ((line, column) for member_id, line in first.items() if _on_cycle(member_id, above))
    taken = set()
    for line, row in rows:
        leg, above_id = _read(row, "placement_leg"), _read(row, "placement_id")
        if not int(_LEGS.get(leg, leg) or 0):
            continue
        if not above_id:
            yield line, "placement_leg"
        elif above_id in first:
            if (above_id, int(_LEGS.get(leg, leg))) in taken:
                yield line, "placement_leg"
            taken.add((above_id, int(_LEGS.get(leg, leg))))


def read_naively(text: str, *, by_row: bool = False) -> NaiveFile:
    """Reads a CSV text whose lines can all be split into as many fields as the header has. `by_row`: no row holds line
    breaks, as where the same rows are in a Parquet file.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.lower() for name in next(reader)]
    rows, line = [], reader.line_num + 1
    for fields in reader:
        rows.append((line, dict(zip(header, fields, strict=True))))
        line = line + 1 if by_row else reader.line_num + 1
    wrong: dict[int, str] = {}
    for line, row in rows:
        for column, text in row.items():
            if _is_wrong(column, text):
                wrong.setdefault(line, column)
    for line, column in _between_rows(rows):
        wrong.setdefault(line, column)
    if wrong:
        return NaiveFile({}, sorted(wrong.items()))
    return NaiveFile({row["member_id"]: _member(row) for _, row in rows}, [])


def _member(row: dict[str, str]) -> NaiveMember:
    leg = row.get("placement_leg", "")
    return NaiveMember(
        sponsor_id=row["sponsor_id"],
        placement_id=row.get("placement_id", ""),
        placement_leg=int(_LEGS.get(leg, leg) or 0),
        kind=_KINDS[row.get("kind", "").lower()],
        status=row["status"],
        rank=int(row["rank"] or 0),
        joined_on=_day(row["joined_on"]),
        pv=_amount(row["pv"]),
        note=row.get("note", ""),
    )
