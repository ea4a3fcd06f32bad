"""A profile: how a company's own CSV file differs from the form of imports. Kept as a small TOML file, for example

separator = ";"
date_format = "MM/DD/YYYY"
decimal = "1,234.50"

[columns]
member_id = "DISTRIBUTOR_ID"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.shared.domain.columns import is_column_name
from services.shared.domain.limits import COLUMN_NAME_LENGTH_MAX
from services.shared.domain.sentences import quoted
from services.shared.mapping.formats import DayFormat, Notation

PROFILE_BYTES_MAX: Final = 64 << 10
COLUMNS_MAX: Final = 256
_FIELDS = ("columns", "separator", "date_format", "decimal")
SEPARATORS: Final = {",": ",", ";": ";", "|": "|", "\t": "\t", "tab": "\t", "\\t": "\t"}
_HEADER_LENGTH_MAX = 128


class ProfileError(ValueError):
    """A profile that can't be: one line, with the field and the mend."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What is left at its default is as imports have it. Made by `profile_of`, which looks at every field."""

    #: FastTree's name of a column, and the file's.
    columns: dict[str, str] = {}
    separator: str = ","
    #: Of every column of days; empty: YYYY-MM-DD.
    date_format: str = ""
    #: 1234.50 as the file has it, for volumes and further columns of numbers; empty: so.
    decimal: str = ""

    @property
    def is_canonical(self) -> bool:
        """The file has the form of imports already."""
        return self == Profile()

    @property
    def day_format(self) -> DayFormat | None:
        return DayFormat(self.date_format) if self.date_format else None

    @property
    def notation(self) -> Notation | None:
        return Notation(self.decimal) if self.decimal else None

    def in_words(self) -> str:
        """In one line, for people."""
        parts = [f"{name}={header}" for name, header in self.columns.items()]
        parts += [f"separator {quoted(self.separator)}"] if self.separator != "," else []
        parts += [f"days as {self.date_format}"] if self.date_format else []
        return ", ".join([*parts, f"numbers as {self.decimal}"] if self.decimal else parts)


def profile_of(
    columns: Mapping[str, str] | None = None, separator: str = "", date_format: str = "", decimal: str = ""
) -> Profile:
    """The profile with these fields; an empty one is left at its default. Raises ProfileError."""
    columns = columns or {}
    if len(columns) > COLUMNS_MAX:
        raise ProfileError(
            f"columns: {len(columns)} are more than {COLUMNS_MAX}: leave out those that need no other name"
        )
    for name, header in columns.items():
        _check_names(name, header)
    for what, names in (("FastTree has", columns.keys()), ("the file has", columns.values())):
        if len({name.lower() for name in names}) < len(names):
            raise ProfileError(f"columns: a name that {what} stands there twice: keep one of the two")
    if separator and separator not in SEPARATORS:
        raise ProfileError(f"separator: {quoted(separator)} is none: write one of , ; | or tab")
    for field, text, kind in (("date_format", date_format, DayFormat), ("decimal", decimal, Notation)):
        try:
            kind(text) if text else None
        except ValueError as error:
            raise ProfileError(f"{field}: {quoted(text)} is none: {error}") from None
    return Profile(
        columns=dict(columns), separator=SEPARATORS[separator or ","], date_format=date_format, decimal=decimal
    )


def _check_names(name: str, header: str) -> None:
    if not is_column_name(name):
        raise ProfileError(
            f"columns: {quoted(name)} is no name of a column: write up to {COLUMN_NAME_LENGTH_MAX} printable "
            "characters, such as member_id"
        )
    if not header.strip() or len(header) > _HEADER_LENGTH_MAX or not header.isprintable():
        raise ProfileError(
            f"columns: {name} = {quoted(header)}: write the column's name in the file, up to {_HEADER_LENGTH_MAX} "
            "printable characters"
        )


def parse_profile(content: bytes) -> Profile:
    """The profile of a TOML file. Raises ProfileError."""
    if len(content) > PROFILE_BYTES_MAX:
        raise ProfileError(f"more than {PROFILE_BYTES_MAX:,} bytes: a profile is a few lines")
    try:
        found = tomllib.loads(content.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"no TOML: {quoted(str(error))}") from None
    except UnicodeDecodeError:
        raise ProfileError("it is not UTF-8: save it as UTF-8") from None
    except (ValueError, RecursionError):
        raise ProfileError("a value in it is none that can be read") from None
    for name, value in found.items():
        if name not in _FIELDS:
            raise ProfileError(f"there is no field {quoted(name)} in a profile: it has {', '.join(_FIELDS)}")
        _check_type(name, value)
    return profile_of(**found)


def _check_type(name: str, value: Any) -> None:
    if name != "columns":
        if not isinstance(value, str):
            raise ProfileError(f"{name}: write a text, in quotes")
    elif not isinstance(value, dict) or not all(isinstance(header, str) for header in value.values()):
        raise ProfileError('columns: write a table [columns] of lines such as member_id = "DISTRIBUTOR_ID"')
