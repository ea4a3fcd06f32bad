"""What can be wrong with a row: a number for the kernels, a sentence that names the mend for people."""

from __future__ import annotations

from typing import Final

# 0 is no fault. The numbers stay inside a run: they are not stored or sent.
TOO_FEW_FIELDS: Final = 1
TOO_MANY_FIELDS: Final = 2
EMPTY_LINE: Final = 3
QUOTE_IN_FIELD: Final = 4
QUOTE_NOT_CLOSED: Final = 5
TEXT_AFTER_QUOTE: Final = 6
FIELD_TOO_LONG: Final = 7
ID_EMPTY: Final = 8
ID_TOO_LONG: Final = 9
ID_CHARACTER: Final = 10
ID_SPACE: Final = 11
AMOUNT_FORMAT: Final = 12
AMOUNT_PLACES: Final = 13
AMOUNT_RANGE: Final = 14
RANK_FORMAT: Final = 15
RANK_RANGE: Final = 16
DATE_FORMAT: Final = 17
DATE_RANGE: Final = 18
KIND_UNKNOWN: Final = 19
STATUS_TOO_LONG: Final = 20
STATUS_CHARACTER: Final = 21
STATUS_TOO_MANY: Final = 22
LEG_FORMAT: Final = 23
LEG_RANGE: Final = 24
TEXT_ENCODING: Final = 25
TEXT_CONTROL: Final = 26
DUPLICATE_ID: Final = 27
SPONSOR_UNKNOWN: Final = 28
PLACEMENT_UNKNOWN: Final = 29
SPONSOR_CYCLE: Final = 30
PLACEMENT_CYCLE: Final = 31
LEG_TAKEN: Final = 32
LEG_WITHOUT_PLACEMENT: Final = 33

#: Texts by number. {value}: the field as it is in the file; {detail}: what the check knows beyond it.
REASONS: Final[dict[int, str]] = {
    TOO_FEW_FIELDS: "the line has fewer fields than the header's {detail}: give every column, empty where unknown",
    TOO_MANY_FIELDS: "the line has more fields than the header's {detail}: put a text that holds a comma in quotes",
    EMPTY_LINE: "the line is empty: take it out",
    QUOTE_IN_FIELD: "a quote inside a field: put the whole field in quotes and double the quote",
    QUOTE_NOT_CLOSED: "the quoted field does not end on its line: close the quote, take line breaks out of texts",
    TEXT_AFTER_QUOTE: "text after the closing quote: double quotes that belong to the text",
    FIELD_TOO_LONG: "the field is longer than {detail} bytes: shorten it",
    ID_EMPTY: "the id is empty: every member needs 1 to 32 printable ASCII characters",
    ID_TOO_LONG: "the id {value} is longer than 32 characters: shorten it",
    ID_CHARACTER: "the id {value} has a character that is not printable ASCII: use letters, digits, punctuation",
    ID_SPACE: "the id {value} begins or ends with a space: take it out",
    AMOUNT_FORMAT: "{value} is not a decimal number: write it as 1234.56 or -1234.56",
    AMOUNT_PLACES: "{value} has more than two decimal places: round it to hundredths",
    AMOUNT_RANGE: "{value} is out of range: at most 92233720368547758.07 either way",
    RANK_FORMAT: "{value} is not a whole number: write a rank from 0 to 32767",
    RANK_RANGE: "{value} is out of range: write a rank from 0 to 32767",
    DATE_FORMAT: "{value} is not a day: write it as 2026-11-30, or leave it empty if unknown",
    DATE_RANGE: "{value} is not in the calendar: correct it, or leave it empty if unknown",
    KIND_UNKNOWN: "{value} is not a kind: write distributor or customer (or D or C)",
    STATUS_TOO_LONG: "the status {value} is longer than 16 characters: shorten it",
    STATUS_CHARACTER: "the status {value} has a character that is not printable ASCII: use letters and digits",
    STATUS_TOO_MANY: "the status {value} is one too many: a file may hold {detail} different ones",
    LEG_FORMAT: "{value} is not a leg: write L, R or a number from 1",
    LEG_RANGE: "{value} is out of range: write a leg from 1 to 2147483647",
    TEXT_ENCODING: "the text is not UTF-8: save the file as UTF-8",
    TEXT_CONTROL: "the text holds a control character: take it out",
    DUPLICATE_ID: "the member {value} is already on line {detail}: keep one of the two",
    SPONSOR_UNKNOWN: "the sponsor {value} is not in the file: add it, or name another, or leave it empty for a root",
    PLACEMENT_UNKNOWN: "the placement {value} is not in the file: add it, or name another, or leave it empty",
    SPONSOR_CYCLE: "the member is in its own upline ({detail}): give one of them another sponsor",
    PLACEMENT_CYCLE: "the member is above itself ({detail}): give one of them another placement",
    LEG_TAKEN: "the leg {value} is already taken on line {detail}: choose another",
    LEG_WITHOUT_PLACEMENT: "a leg without a placement_id: name the placement, or leave the leg empty",
}

_SHOWN_CHARACTERS = 48


def shown(field: bytes) -> str:
    """A field as a reason shows it: in quotes, on one line, cut where it is long."""
    text = field[: _SHOWN_CHARACTERS * 4].decode("utf-8", "backslashreplace")
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return '"' + "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in cut) + '"'


def reason(code: int, *, value: bytes = b"", detail: object = "") -> str:
    """The sentence for a fault; `detail` as REASONS says."""
    return REASONS[code].format(value=shown(value), detail=detail)
