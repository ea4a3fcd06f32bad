"""A file in a company's own form, written anew in the form of imports: row for row, each on the line that it has.

What can't be read as the profile says, or can't be what its column holds, is left empty and told with its line and as
it stands in the file: the reader of imports, which says everything else, sees only what comes of it.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from services.shared.domain.amounts import amount_fault
from services.shared.domain.columns import FurtherKind, declared_column, number_places, parse_number, volume_column
from services.shared.domain.days import day_number
from services.shared.domain.sentences import quoted
from services.shared.mapping.faults import RejectedRow, Tally, with_others
from services.shared.mapping.formats import DayFormat, Notation
from services.shared.mapping.profile import Profile
from services.shared.mapping.rows import Row, RowTooLongError, open_unpacked, read_rows
from services.shared.packing import Packing, PackingError, Unpacked, is_bomb, packing_of
from services.shared.personal.rows import PersonalValueError, places_of, sealed
from services.shared.personal.vault import Vault

#: Faults that are kept one by one; the others are counted.
FAULTS_KEPT: Final = 1_000_000
#: What a packed file may unpack to: as nodes have it by default.
_UNPACKED_BYTES_MAX: Final = 32 << 30
_UNPACK_FREE_BYTES: Final = 64 << 20
_UNPACK_RATIO_MAX: Final = 200
_COLUMNS_SHOWN = 20
_PARQUET: Final = b"PAR1"
_NO_ARROW: Final = (
    "it is Parquet, in which nobody can look for personal columns here: pyarrow is missing (the image fasttree has it, "
    "fasttree-slim does not); send it as CSV, or run the pusher in the image fasttree"
)
_OTHER_FORMS: Final = {
    _PARQUET: "a profile is for CSV, and a Parquet file says itself what it holds: rename its columns",
    b"\xff\xfe": "it is UTF-16: save it as UTF-8",
    b"\xfe\xff": "it is UTF-16: save it as UTF-8",
}
_NEEDS_QUOTES = re.compile('[",\r\n]')
_WRITTEN_AT_ONCE_BYTES = 1 << 20


class MappingError(Exception):
    """The file as a whole can't be read with this profile: one line, with the mend."""


@dataclass(frozen=True)
class KnownColumns:
    """What tells days and numbers from texts: the rules of the log."""

    volume_types: Sequence[str] = ("PV",)
    #: Types of the columns that the log declares, by name.
    declared: Mapping[str, FurtherKind] = field(default_factory=dict)
    #: Those whose values go into the vault, a file, and whose tokens into the file of an import.
    personal: Sequence[str] = ()
    vault: str = ""
    #: The longest wait for another process that writes there, in seconds.
    vault_wait_s: float = 10.0

    def is_volume(self, name: str) -> bool:
        """Whether a column of that name holds volumes."""
        return name.lower() in {"pv", *map(str.lower, self.volume_types)} or volume_column(name) is not None

    def kind(self, name: str) -> str:
        """What a column of that name holds: "date", "number" or "text". Ids, ranks and legs are no numbers here."""
        if name.lower() == "joined_on":
            return "date"
        if self.is_volume(name):
            return "number"
        try:
            plain, kind = declared_column(name)
        except ValueError:
            return "text"
        kind = self._declared(plain, kind)
        return {"date": "date", "integer": "number", "decimal": "number"}.get(kind or "text", "text")

    def _declared(self, name: str, kind: FurtherKind | None) -> FurtherKind | None:
        return {each.lower(): known for each, known in self.declared.items()}.get(name.lower(), kind)

    def fault(self, name: str) -> Callable[[str], str]:
        """What tells why a day or a number, in the form of imports, can't be in a column of that name: a sentence about
        its {value}; empty where it can.
        """
        if self.kind(name) == "date":
            return partial(_fault, day_number)
        if self.is_volume(name):
            return amount_fault
        kind = self._declared(*declared_column(name))
        return partial(_fault, partial(parse_number, places=number_places(kind or "decimal")))


def _fault(parse: Callable[[str], int], text: str) -> str:
    try:
        parse(text)
    except ValueError as error:
        return str(error).replace(quoted(text), "{value}", 1)
    return ""


@dataclass
class Rewritten:
    """What became of the rows."""

    rows: int = 0
    #: How columns that have another name now are told of, by that one: "DISTRIBUTOR_ID (member_id)".
    headers: dict[str, str] = field(default_factory=dict)
    #: Rows that could not be read as the profile says, by line.
    faults: dict[int, RejectedRow] = field(default_factory=dict)
    fault_count: int = 0
    tally: Tally = field(default_factory=Tally)
    #: Lines of rows that stand there empty, since their fields could not be told apart.
    empty_lines: set[int] = field(default_factory=set)


def rewrite(
    source: Path,
    target: Path,
    profile: Profile,
    known: KnownColumns,
    progress: Callable[[float], None] = lambda share: None,
) -> Rewritten:
    """Writes the file in the form of imports, by gzip where it is packed. Blocks for seconds on large files.

    Raises MappingError, or OSError.
    """
    with source.open("rb") as file:
        head = file.read(4)
    if head == _PARQUET and known.personal and profile.is_canonical:
        try:
            from services.shared.mapping.parquet import copy_without_personal
        except ImportError:
            raise MappingError(_NO_ARROW) from None
        with _personal_errors():
            return Rewritten(rows=copy_without_personal(source, target, known.personal))
    for magic, reason in _OTHER_FORMS.items():
        if head.startswith(magic):
            raise MappingError(reason)
    is_packed, size_bytes = packing_of(head) is not Packing.NONE, source.stat().st_size
    try:
        with _personal_errors(), open_unpacked(source) as reading, _writing(target, is_packed=is_packed) as write:
            bounded = _Bounded(reading, size_bytes, progress) if is_packed else _Told(reading, size_bytes, progress)
            rows = read_rows(bounded, profile.separator)
            if known.personal:
                rows = without_personal(rows, profile, known)
            return _Rewriting(profile, known).run(rows, write)
    except RowTooLongError as error:
        raise MappingError(str(error)) from error
    except PackingError as error:
        raise MappingError(str(error)) from error


@contextmanager
def _personal_errors() -> Iterator[None]:
    try:
        yield
    except PersonalValueError as error:
        raise MappingError(str(error)) from error


class _Rewriting:
    """One file."""

    def __init__(self, profile: Profile, known: KnownColumns) -> None:
        self._profile, self._known = profile, known
        self._found = Rewritten()
        #: Places of columns of days and numbers, how each is told of, and what turns a value.
        self._turned: list[tuple[int, str, DayFormat | Notation, Callable[[str], str]]] = []

    def run(self, rows: Iterator[Row], write: Callable[[str], None]) -> Rewritten:
        header = next(rows, None)
        if header is None:
            raise MappingError("it holds no line: a header line and at least one member are needed")
        write(self._header(header))
        empty = ""  # lines at the file's end are no rows
        for row in rows:
            if row.text.strip("\r\n"):
                write(empty + self._row(row))
                empty = ""
                self._found.rows += 1
            else:
                empty += "\n" * row.text.count("\n")
                if len(empty) > _WRITTEN_AT_ONCE_BYTES:
                    raise MappingError(f"line {row.line}: more than {_WRITTEN_AT_ONCE_BYTES:,} empty lines end here")
        return self._found

    def _header(self, row: Row) -> str:
        names = [name.strip() for name in row.fields]
        if row.problem or any(each in "".join(names) for each in "\r\n"):
            raise MappingError(f"line 1: {row.problem or 'the header'} goes on over a line's end: it stands on line 1")
        new_names = _by_place(self._profile.columns, names)
        self._found.headers = {new: f"{names[place]} ({new})" for place, new in new_names.items()}
        header = [new_names.get(place, name) for place, name in enumerate(names)]
        turns = {"date": self._profile.day_format, "number": self._profile.notation}
        for place, name in enumerate(header):
            turn = turns.get(self._known.kind(name))
            if turn is not None:
                self._turned.append((place, self._found.headers.get(name, name), turn, self._known.fault(name)))
        return _line(header)

    def _row(self, row: Row) -> str:
        if row.problem:
            self._fault(row.line, "", "", row.problem)
            self._found.empty_lines.add(row.line)
            return "\n" * max(1, row.text.count("\n"))
        fields = row.fields
        for place, name, turn, fault in self._turned:
            if place < len(fields) and (text := fields[place]):
                turned = turn.canonical(text)
                problem = turn.problem if turned is None else fault(turned)
                if problem:
                    self._fault(row.line, name, problem, problem.format(value=quoted(text)))
                    turned = ""
                fields[place] = turned or ""
        return _line(fields)

    def _fault(self, line: int, column: str, kind: str, reason: str) -> None:
        found, row = self._found, RejectedRow(line, column, reason)
        found.tally.add((column, kind), 1, [row])
        if line not in found.faults:
            found.fault_count += 1
            if len(found.faults) < FAULTS_KEPT:
                found.faults[line] = row
        elif line in found.faults:
            found.faults[line] = with_others([found.faults[line], row])


def without_personal(rows: Iterator[Row], profile: Profile, known: KnownColumns) -> Iterator[Row]:
    """The rows with tokens where personal values stood, which are in the vault by then."""
    header = next(rows, None)
    if header is None:
        return
    names = [name.strip() for name in header.fields]
    new_names = _by_place(profile.columns, names)
    meant = [new_names.get(place, name).lower() for place, name in enumerate(names)]
    yield header
    places = places_of(meant, known.personal)
    if "member_id" not in meant:  # it may be one whose columns nobody can tell
        raise MappingError(f"line 1: the header has no column member_id: it has {_shown(names)}")
    if not places:
        yield from rows
        return
    with closing(Vault(Path(known.vault), wait_s=known.vault_wait_s)) as vault:
        yield from sealed(rows, len(names), places, meant.index("member_id"), vault)


def _by_place(columns: Mapping[str, str], names: Sequence[str]) -> dict[int, str]:
    """The new name of each column that gets one, by its place. Raises MappingError for those that the file has not."""
    lowered = [name.lower() for name in names]
    places: dict[int, str] = {}
    missing = []
    for new, header in columns.items():
        wanted = header.strip()
        found = [place for place, name in enumerate(names) if name == wanted]
        found = found or [place for place, name in enumerate(lowered) if name == wanted.lower()]
        if len(found) > 1:
            raise MappingError(f"line 1: the header has {quoted(wanted)} twice: which one is {new}?")
        if found:
            places[found[0]] = new
        else:
            missing.append(quoted(wanted))
    if missing:
        raise MappingError(
            f"line 1: the header has no column {', '.join(missing[:_COLUMNS_SHOWN])}; it has {_shown(names)}"
        )
    return places


def _shown(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _COLUMNS_SHOWN else ""
    return ", ".join(quoted(name) for name in names[:_COLUMNS_SHOWN]) + more


def _line(fields: Sequence[str]) -> str:
    line = ",".join(fields)
    if line.count(",") >= len(fields) or _NEEDS_QUOTES.search(line.replace(",", "")):
        line = ",".join('"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text for text in fields)
    return line + "\n"


class _Told:
    """A file that tells how far it was read."""

    def __init__(self, file: Unpacked, size_bytes: int, progress: Callable[[float], None]) -> None:
        self._file, self._size_bytes, self._progress = file, size_bytes, progress
        self._read_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._read_bytes += len(data)
        self._progress(min(1.0, self._read_bytes / max(1, self._size_bytes)))
        return data


class _Bounded(_Told):
    """A packed file that must not unpack to more than one may."""

    def read(self, size: int) -> bytes:
        data = super().read(size)
        is_too_much = self._read_bytes > _UNPACKED_BYTES_MAX
        if is_too_much or is_bomb(self._read_bytes, self._size_bytes, _UNPACK_RATIO_MAX, _UNPACK_FREE_BYTES):
            raise MappingError(f"it unpacks to more than {_UNPACK_RATIO_MAX} times its size: it is taken for a bomb")
        return data


@contextmanager
def _writing(target: Path, *, is_packed: bool) -> Iterator[Callable[[str], None]]:
    """Takes texts for a new file, many at a time."""
    kept: list[str] = []
    kept_bytes = 0

    def flush() -> None:
        writing.write("".join(kept).encode("utf-8", "surrogateescape"))
        kept.clear()

    def write(text: str) -> None:
        nonlocal kept_bytes
        kept.append(text)
        kept_bytes += len(text)
        if kept_bytes >= _WRITTEN_AT_ONCE_BYTES:
            flush()
            kept_bytes = 0

    with target.open("wb") as file:
        writing = (
            cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0)) if is_packed else file
        )
        with writing:
            yield write
            flush()
