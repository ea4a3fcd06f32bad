"""Takes the personal values out of the rows of an import file, some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar

from services.shared.domain.columns import declared_column, obeyed_problem, text_problem
from services.shared.domain.members import id_problem
from services.shared.personal.vault import Cell, Vault

_ROWS_AT_ONCE: Final = 5_000


class PersonalValueError(ValueError):
    """What a column holds can't be kept: where, and the mend; not the value."""


class _Row(Protocol):
    @property
    def line(self) -> int: ...

    @property
    def fields(self) -> list[str]: ...


Row = TypeVar("Row", bound=_Row)


def places_of(names: Sequence[str], personal: Collection[str]) -> dict[int, str]:
    """Which columns of a header are personal: by their place, the name that the rules have."""
    by_rule = {name.lower(): name for name in personal}
    found = {}
    for place, header in enumerate(names):
        try:
            name = declared_column(header.strip())[0]
        except ValueError:
            continue
        if name.lower() in by_rule:
            found[place] = by_rule[name.lower()]
    return found


def sealed(rows: Iterator[Row], places: dict[int, str], id_place: int, vault: Vault) -> Iterator[Row]:
    """The rows with tokens in the place of values. Raises PersonalValueError, VaultError."""
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        cells: list[Cell] = []
        put: list[Callable[[str], None]] = []
        for row in batch:
            member_id = row.fields[id_place].strip() if id_place < len(row.fields) else ""
            is_nobody = id_problem(member_id) is not None
            for place, column in places.items():
                if place < len(row.fields) and (value := row.fields[place]):
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
