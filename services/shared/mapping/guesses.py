"""What a file of another form looks like: the separator, the columns by their names, days and numbers by their values.

A guess is offered, never taken: whoever knows the file says whether it is right.
"""

from __future__ import annotations

import difflib
import itertools
import re
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from services.shared.domain.sentences import quoted
from services.shared.mapping.canonical import KnownColumns
from services.shared.mapping.formats import DayFormat, Notation
from services.shared.mapping.profile import Profile
from services.shared.mapping.rows import RowTooLongError, open_unpacked, read_rows

_ROWS_LOOKED_AT: Final = 2_000
_HEADER_BYTES_MAX: Final = 1 << 20
_CLOSE: Final = 0.85
#: So many of the values must be of one form; the others are wrong, then.
_SURE: Final = 0.9
#: What no option can say: control characters, and bytes that are no UTF-8, as in a file of another encoding.
_NOT_WRITTEN: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_SEPARATORS: Final = ",;\t|"
#: How other systems call what FastTree has another name for, without capitals, blanks and underscores.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "member_id": (
        *("memberid", "memberno", "membernumber", "member", "distributorid", "distributorno", "distributornumber"),
        *(
            "distributor",
            "distid",
            "associateid",
            "consultantid",
            "customerid",
            "repid",
            "iboid",
            "accountid",
            "userid",
        ),
        *("id", "partnerid", "vpid", "mitgliedsnummer", "mitgliedid", "partnernummer", "beraternummer"),
    ),
    "sponsor_id": (
        *("sponsorid", "sponsor", "sponsorno", "sponsornumber", "enrollerid", "enroller", "recruiterid", "referrerid"),
        *("sponsordistributorid", "uplineid", "upline", "introducerid", "sponsornummer"),
    ),
    "placement_id": ("placementid", "placement", "placementparentid", "parentid", "binaryparentid", "treeparentid"),
    "placement_leg": ("placementleg", "leg", "side", "placementside", "binaryside", "treeposition", "position"),
    "kind": ("kind", "membertype", "accounttype", "distributortype", "customertype"),
    "status": ("status", "memberstatus", "accountstatus", "distributorstatus", "statuscode"),
    "rank": ("rank", "rankid", "ranknumber", "currentrank", "paidrank", "paidasrank", "titlerank", "rang", "stufe"),
    "joined_on": (
        *("joinedon", "joindate", "joined", "joiningdate", "enrolldate", "enrolleddate", "enrollmentdate", "enroldate"),
        *(
            "enrolmentdate",
            "dateenrolled",
            "signupdate",
            "startdate",
            "entrydate",
            "registrationdate",
            "eintrittsdatum",
        ),
    ),
    "pv": ("pv", "personalvolume", "pvolume", "personalpv", "pvamount", "monthlypv", "personalvol", "eigenvolumen"),
}
_DAY_FORMATS: Final = (
    *("MM/DD/YYYY", "DD/MM/YYYY", "DD.MM.YYYY", "YYYY/MM/DD", "YYYY.MM.DD", "MM-DD-YYYY", "DD-MM-YYYY", "YYYYMMDD"),
)
_NOTATIONS: Final = ("1,234.50", "1.234,50", "1 234,50", "1'234.50")
#: What stands in no header: such a file is none of texts, or of another encoding.
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd]|\APAR1")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AMOUNT = re.compile(r"-?[0-9]+(?:\.[0-9]{1,2})?")


class Guess(msgspec.Struct, frozen=True):
    """One thing that a file seems to be."""

    #: In words.
    says: str
    #: What to say to `fasttree import` where it is right; empty where nothing is sure enough to be offered.
    option: str = ""


@dataclass(frozen=True)
class Guessed:
    """A profile with what was left open filled in, and how."""

    profile: Profile
    guesses: list[Guess] = field(default_factory=list)


class _Look(NamedTuple):
    names: list[str]
    rows: list[list[str]]


def guess(path: Path, profile: Profile, known: KnownColumns) -> Guessed:
    """Fills in what the profile leaves open and the file does not have as imports do. A file that can't be read as CSV
    is left to whoever reads it. Raises OSError.
    """
    guesses: list[Guess] = []
    try:
        if profile.separator == ",":
            separator = _separator(path)
            if separator != ",":
                shown = "tab" if separator == "\t" else separator
                guesses.append(Guess(f"columns are separated by {shown}", f"--separator {shlex.quote(shown)}"))
                profile = msgspec.structs.replace(profile, separator=separator)
        look = _look(path, profile.separator)
    except (RowTooLongError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return Guessed(profile, guesses)
    columns = dict(profile.columns)
    for name, header in _columns(look.names, profile.columns, known):
        columns[name] = header
        guesses.append(Guess(f"{header} looks like {name}", f"--map {shlex.quote(f'{name}={header}')}"))
    profile = msgspec.structs.replace(profile, columns=columns)
    for kind, found in (("date", _dates), ("number", _numbers)):
        values = list(_values(look, columns, known, kind))
        changes = found(values, profile, guesses)
        profile = msgspec.structs.replace(profile, **changes)
    return Guessed(profile, guesses)


def _separator(path: Path) -> str:
    with open_unpacked(path) as file:
        header = file.read(_HEADER_BYTES_MAX).partition(b"\n")[0].decode("utf-8", "replace")
    if _NO_TEXT.search(header):
        return ","
    header = re.sub(r'"[^"]*"', "", header)
    return max(_SEPARATORS, key=lambda each: (header.count(each), each == ",")) if header.strip() else ","


def _look(path: Path, separator: str) -> _Look:
    with open_unpacked(path) as file:
        rows = [row.fields for row in itertools.islice(read_rows(file, separator), _ROWS_LOOKED_AT) if not row.problem]
    return _Look([name.strip() for name in rows[0]], rows[1:]) if rows else _Look([], [])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _columns(names: Sequence[str], mapped: Mapping[str, str], known: KnownColumns) -> Iterator[tuple[str, str]]:
    """(FastTree's name, the header's) of columns that the header seems to have under another name."""
    taken = {header.strip().lower() for header in mapped.values()}
    free = [name for name in names if name.lower() not in taken and not _NOT_WRITTEN.search(name)]
    has = {name.lower() for name in free} | {name.lower() for name in mapped}
    volume = any(known.is_volume(name) for name in (*free, *mapped))
    for name, others in _NAMES.items():
        if name in has or (name == "pv" and volume):
            continue
        by_plain = {_plain(header): header for header in reversed(free) if header.lower() not in _NAMES}
        found = next((by_plain[other] for other in others if other in by_plain), "")
        if not found and (near := difflib.get_close_matches(others[0], by_plain, n=1, cutoff=_CLOSE)):
            found = by_plain[near[0]]
        if found:
            free.remove(found)
            yield name, found


def _values(look: _Look, columns: Mapping[str, str], known: KnownColumns, kind: str) -> Iterator[str]:
    new_names = {header.strip().lower(): name for name, header in columns.items()}
    for place, header in enumerate(look.names):
        if known.kind(new_names.get(header.lower(), header)) == kind:
            yield from (row[place] for row in look.rows if place < len(row) and row[place])


def _dates(values: Sequence[str], profile: Profile, guesses: list[Guess]) -> dict[str, str]:
    odd = [value for value in values if not _DAY.fullmatch(value)]
    if profile.date_format or not odd:
        return {}
    fits = {text: sum(_is_day(DayFormat(text).canonical(value)) for value in values) for text in _DAY_FORMATS}
    most = max(fits.values())
    fitting = [text for text, count in fits.items() if count == most >= _SURE * len(values)]
    if len(fitting) > 1:
        says = f"days such as {quoted(odd[0])} could be {' or '.join(fitting)}"
        guesses.append(Guess(f"{says}: say which, by --date-format"))
    elif fitting:
        option = f"--date-format {shlex.quote(fitting[0])}"
        guesses.append(Guess(f"days look like {fitting[0]}, such as {quoted(odd[0])}", option))
        return {"date_format": fitting[0]}
    return {}


def _is_day(day: str | None) -> bool:
    return day is not None and "01" <= day[5:7] <= "12" and "01" <= day[8:] <= "31"


def _numbers(values: Sequence[str], profile: Profile, guesses: list[Guess]) -> dict[str, str]:
    odd = [value for value in values if not _AMOUNT.fullmatch(value)]
    if profile.decimal or not odd:
        return {}
    numbers = [value for value in values if any(_is_number(Notation(text), value) for text in _NOTATIONS)]
    if len(numbers) < _SURE * len(values):
        return {}
    by_meaning: dict[tuple[str | None, ...], str] = {}
    for text in _NOTATIONS:
        if all(_is_number(Notation(text), value) for value in numbers):
            by_meaning.setdefault(tuple(Notation(text).canonical(value) for value in numbers), text)
    if len(by_meaning) > 1:
        says = f"numbers such as {quoted(odd[0])} could be written as {' or '.join(by_meaning.values())}"
        guesses.append(Guess(f"{says}: say which, by --decimal"))
    for text in by_meaning.values() if len(by_meaning) == 1 else ():
        option = f"--decimal {shlex.quote(text)}"
        guesses.append(Guess(f"numbers look like {text}, such as {quoted(odd[0])}", option))
        return {"decimal": text}
    return {}


def _is_number(notation: Notation, text: str) -> bool:
    number = notation.canonical(text)
    return number is not None and _AMOUNT.fullmatch(number) is not None
