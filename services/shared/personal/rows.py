"""Takes the personal values out of the rows of an import file, some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar

from services.shared.domain.columns import declared_column, obeyed_problem, text_problem
from services.shared.domain.members import id_problem
from services.shared.domain.sentences import counted
from services.shared.personal.names import meant
from services.shared.personal.vault import Cell, Vault

#: Few, since updates wait meanwhile.
_ROWS_AT_ONCE: Final = 1_000


class PersonalValueError(ValueError):
    """What a column holds can't be kept: where, and the mend; not the value."""


class _Row(Protocol):
    @property
    def line(self) -> int: ...

    @property
    def text(self) -> str: ...

    @property
    def fields(self) -> list[str]: ...

    @property
    def problem(self) -> str: ...


Row = TypeVar("Row", bound=_Row)


def places_of(names: Sequence[str], personal: Collection[str]) -> dict[int, str]:
    """Which columns of a header are personal: by their place, the name that the rules have."""
    by_rule = {meant(name): name for name in personal}
    found = {}
    for place, header in enumerate(names):
        try:
            name = declared_column(header.strip())[0]
        except ValueError:  # of no type: the file will be refused, and must not lie about with what is in it
            name = header.rpartition(":")[0].strip()
        if rule := by_rule.get(meant(name)):
            found[place] = rule
    return found


def sealed(rows: Iterator[Row], width: int, places: dict[int, str], id_place: int, vault: Vault) -> Iterator[Row]:
    """The rows with tokens in the place of values. `width`: how many fields a row has: of one with another number
    nobody can tell which are personal. Raises PersonalValueError, VaultError.
    """
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        cells: list[Cell] = []
        put: list[Callable[[str], None]] = []
        for row in batch:
            if row.problem or not row.text.strip("\r\n"):
                continue
            if len(row.fields) != width:
                reason = f"it has {counted(len(row.fields), 'field')}, the header {width}"
                raise PersonalValueError(f"line {row.line}: {reason}: mend it in the file")
            member_id = row.fields[id_place].strip()
            is_nobody = id_problem(member_id) is not None
            for place, column in places.items():
                if value := row.fields[place]:
                    if is_nobody:  # the file is going to be refused for it
                        row.fields[place] = ""
                        continue
                    _check(row.line, column, value)
                    cells.append(Cell(member_id, column, value))
                    put.append(_setter(row.fields, place))
        for take, token in zip(put, vault.put(cells, of_a_file=True), strict=True):
            take(token)
        yield from batch


def _setter(fields: list[str], place: int) -> Callable[[str], None]:
    def take(token: str) -> None:
        fields[place] = token

    return take


def _check(line: int, column: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PersonalValueError(
            f"line {line}: column {column}: the text is not UTF-8: save the file as UTF-8"
        ) from None
    if text_problem(value) or obeyed_problem(value):
        raise PersonalValueError(
            f"line {line}: column {column}: the text is too long, or holds a control character: mend it in the file"
        )
