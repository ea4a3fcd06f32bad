"""Columns that a company has beside those with a meaning: their names, their texts, their numbers; volume columns."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

from fasttree.v1 import types_pb2
from services.shared.domain.days import is_period
from services.shared.domain.limits import (
    COLUMN_NAME_LENGTH_MAX,
    COLUMN_TEXT_BYTES_MAX,
    DECIMAL_SCALE,
    NO_NUMBER,
    NUMBER_LENGTH_MAX,
    VOLUME_TYPE_LENGTH_MAX,
)
from services.shared.domain.sentences import SHAPELESS, is_plain, quoted

#: What a further column holds: texts to the letter; whole numbers of 64 bits; numbers of six places; days.
FurtherKind = Literal["text", "integer", "decimal", "date"]
FURTHER_KINDS: Final[tuple[FurtherKind, ...]] = get_args(FurtherKind)
#: Names that mean something else wherever columns are named.
OWN_NAMES: Final = frozenset({"volumes", "columns", "*"})
#: Those, and what reports tell of every member.
RESERVED_NAMES: Final = OWN_NAMES | {
    field.name.removesuffix("_hundredths") for field in types_pb2.Member.DESCRIPTOR.fields
}

#: No volume type's: a file's column of that name is read as what it is, or read over. "pv" means volume anyway.
RESERVED_TYPES: Final = RESERVED_NAMES - {"pv"}

COLUMN_NAME_PATTERN: Final = rf"(?! )[^{SHAPELESS}]{{1,{COLUMN_NAME_LENGTH_MAX}}}(?<! )"
VOLUME_TYPE_PATTERN: Final = rf"[A-Za-z][A-Za-z0-9_]{{0,{VOLUME_TYPE_LENGTH_MAX - 1}}}"
COLUMN_TYPE_FORM: Final = (
    f"after the last colon stands a type, one of {', '.join(FURTHER_KINDS)}: write NAME:text for a name with a colon, "
    "TYPE:2026-11 for a volume"
)
NAME_TAKEN: Final = "FastTree has this name for itself: choose another"
COLUMN_TYPE_UNKNOWN: Final = f"{{value}} is no type of a column: write one of {', '.join(FURTHER_KINDS)}"
NAME_FORM: Final = f"a name of 1 to {COLUMN_NAME_LENGTH_MAX} printable characters"
TEXT_TOO_LONG: Final = f"the text is longer than {COLUMN_TEXT_BYTES_MAX} bytes: shorten it"
TEXT_CONTROL: Final = "the text holds a control character that is no tab or line break: take it out"
TEXT_OBEYED: Final = (
    "{value} holds a character that terminals obey or that turns text about: take it out (a file of Windows-1252 has "
    "such ones when it is read as Latin-1: save it as UTF-8)"
)
TEXT_ENCODING: Final = "the text is not UTF-8: save the file as UTF-8"
VOLUME_TYPE_FORM: Final = (
    f"{{value}} is no volume type: write a letter and up to {VOLUME_TYPE_LENGTH_MAX - 1} letters, digits or underscores"
)
VOLUME_TYPE_TAKEN: Final = "{value} is a column that every member has: choose another name for the volume type"
NUMBER_FORMAT: Final = (
    f"{{value}} is not a number: write digits, such as 1234 or -12.5, {NUMBER_LENGTH_MAX} characters at most"
)
NUMBER_PLACES: Final = "{value} has more than the {places} decimal places of its column: round it"
NUMBER_RANGE: Final = "{value} is out of range: its column takes numbers of 64 bits"

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Beyond ASCII: those of Latin-1, which terminals obey as they do ESC (U+009B begins a command, U+0085 a line), and
# those that turn about what follows them, so that a line reads as another one. The marks of direction and the joiners
# stay: texts in Arabic, Hebrew, Persian and Hindi need them, and they move nothing but their neighbours.
_OBEYED = re.compile(r"[\x80-\x9f\u202a-\u202e\u2066-\u2069]")
_OBEYED_BYTES = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
_OBEYED_BEGIN = (b"\xc2", b"\xe2\x80", b"\xe2\x81")
_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?")
_VOLUME_TYPE = re.compile(VOLUME_TYPE_PATTERN)
_NUMBER_LIMIT = 2**63


def is_column_name(name: str) -> bool:
    """Whether a further column may have this name: COLUMN_NAME_PATTERN, looked at the fast way."""
    return 0 < len(name) <= COLUMN_NAME_LENGTH_MAX and is_plain(name) and name[0] != " " and name[-1] != " "


def column_problem(name: str, kind: str) -> str | None:
    """What is wrong with the declaration of a further column; None where nothing is."""
    if not is_column_name(name):
        return f"name: {quoted(name)} is none: it needs {NAME_FORM}"
    if name.lower() in RESERVED_NAMES or volume_column(name):
        return f"name: {NAME_TAKEN}"
    if name.rpartition(":")[2].strip().lower() in FURTHER_KINDS and ":" in name:
        return "name: the header of a file would say a type by its end: leave that out"
    return None if kind in FURTHER_KINDS else f"type: {COLUMN_TYPE_UNKNOWN.format(value=quoted(kind))}"


def declared_column(header: str) -> tuple[str, FurtherKind | None]:
    """Name and type that a file's header declares as "NAME:TYPE"; a name alone leaves the type open.

    Raises ValueError, which says what is wrong, where what stands after the last colon is no type.
    """
    name, colon, written = header.rpartition(":")
    if not colon:
        return header, None
    for kind in FURTHER_KINDS:
        if written.strip().lower() == kind:
            return name.strip(), kind
    raise ValueError(COLUMN_TYPE_FORM)


def number_places(kind: FurtherKind) -> int:
    """Decimal places of a column of numbers."""
    return DECIMAL_SCALE if kind == "decimal" else 0


def text_problem(text: str) -> str | None:
    """What a further column can't keep of a text; None where it is kept as it is."""
    # The characters are counted first: a text of megabytes is not encoded to be refused.
    if len(text) > COLUMN_TEXT_BYTES_MAX or (not text.isascii() and len(text.encode()) > COLUMN_TEXT_BYTES_MAX):
        return TEXT_TOO_LONG
    if not text.isprintable() and _CONTROL.search(text):
        return TEXT_CONTROL
    return None


def obeyed_problem(text: str) -> str | None:
    """What earlier versions let into their logs and no door lets in any more; None where a text holds no such thing."""
    if text.isprintable() or not _OBEYED.search(text):
        return None
    return TEXT_OBEYED.format(value=quoted(text))


def holds_obeyed(texts: bytes) -> bool:
    """Whether there is such a character anywhere in UTF-8, in little time where there is none."""
    if texts.isascii() or not any(begin in texts for begin in _OBEYED_BEGIN):
        return False
    return _OBEYED_BYTES.search(texts) is not None


def is_number(text: str) -> bool:
    """Whether a text is a number as files and updates write one, whatever its places and its size."""
    return len(text) <= NUMBER_LENGTH_MAX and _NUMBER.fullmatch(text) is not None


def parse_number(text: str, places: int) -> int:
    """A number in units of 10 ** -places; NO_NUMBER for the empty text. Its cost is bounded by NUMBER_LENGTH_MAX.

    Raises ValueError, which says what is wrong: digits of ASCII with a sign or none, a point with digits on both sides
    or none, and nothing else; no more places than the column has, but for zeros.
    """
    if not text:
        return NO_NUMBER
    match = _NUMBER.fullmatch(text) if len(text) <= NUMBER_LENGTH_MAX else None
    if match is None:
        raise ValueError(NUMBER_FORMAT.format(value=quoted(text)))
    sign, whole, fraction = match.groups(default="")
    if fraction[places:].strip("0"):
        raise ValueError(NUMBER_PLACES.format(value=quoted(text), places=places))
    number = int(whole + fraction[:places].ljust(places, "0"))
    if number >= _NUMBER_LIMIT:
        raise ValueError(NUMBER_RANGE.format(value=quoted(text)))
    return -number if sign == "-" else number


def is_volume_type(text: str) -> bool:
    """Whether a cluster may have this volume type."""
    return _VOLUME_TYPE.fullmatch(text) is not None


def volume_type_problem(text: str) -> str | None:
    """What makes a text none for a new volume type; None where nothing does."""
    if not is_volume_type(text):
        return VOLUME_TYPE_FORM.format(value=quoted(text))
    return VOLUME_TYPE_TAKEN.format(value=quoted(text)) if text.lower() in RESERVED_TYPES else None


def volume_column(name: str) -> tuple[str, str] | None:
    """Type and period of a column "TYPE:YYYY-MM", which opens both where the cluster has them not; None for another."""
    volume_type, colon, period = name.partition(":")
    if colon and is_volume_type(volume_type) and is_period(period):
        return volume_type, period
    return None
