"""What can be wrong with a row: a number for the kernels, a sentence that names the mend for people."""

from __future__ import annotations

from typing import Final

from services.shared.domain import amounts, columns, days, members
from services.shared.domain.sentences import quoted_bytes

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
NUMBER_FORMAT: Final = 34
NUMBER_PLACES: Final = 35
NUMBER_RANGE: Final = 36
TEXT_RETURN: Final = 37

#: Faults after which a row's fields could not be told apart.
OF_ROWS: Final = (
    *(TOO_FEW_FIELDS, TOO_MANY_FIELDS, EMPTY_LINE, QUOTE_IN_FIELD, QUOTE_NOT_CLOSED, TEXT_AFTER_QUOTE, FIELD_TOO_LONG),
    TEXT_RETURN,
)
#: Faults of a row that names a member who is not there, or that is there twice.
TO_NOBODY: Final = (DUPLICATE_ID, SPONSOR_UNKNOWN, PLACEMENT_UNKNOWN)

#: Texts by number; a rule that updates have too has its own. {value}: the field as it is in the file; {detail}, or
#: {places}: what the check knows beyond it.
REASONS: Final[dict[int, str]] = {
    TOO_FEW_FIELDS: "the line has fewer fields than the header's {detail}: give every column, empty where unknown",
    TOO_MANY_FIELDS: "the line has more fields than the header's {detail}: put a text that holds a comma in quotes",
    EMPTY_LINE: "the line is empty: take it out",
    QUOTE_IN_FIELD: "a quote inside a field: put the whole field in quotes and double the quote",
    QUOTE_NOT_CLOSED: "the quoted field does not end where a text must: close the quote, double those inside",
    TEXT_AFTER_QUOTE: "text after the closing quote: double quotes that belong to the text",
    FIELD_TOO_LONG: columns.TEXT_TOO_LONG,
    ID_EMPTY: members.ID_EMPTY,
    ID_TOO_LONG: members.ID_TOO_LONG,
    ID_CHARACTER: members.ID_CHARACTER,
    ID_SPACE: members.ID_SPACE,
    AMOUNT_FORMAT: amounts.AMOUNT_FORMAT,
    AMOUNT_PLACES: amounts.AMOUNT_PLACES,
    AMOUNT_RANGE: amounts.AMOUNT_RANGE,
    RANK_FORMAT: members.RANK_FORMAT,
    RANK_RANGE: members.RANK_RANGE,
    DATE_FORMAT: days.DAY_FORMAT,
    DATE_RANGE: days.DAY_RANGE,
    KIND_UNKNOWN: "{value} is not a kind: write distributor or customer (or D or C)",
    STATUS_TOO_LONG: members.STATUS_TOO_LONG,
    STATUS_CHARACTER: members.STATUS_CHARACTER,
    STATUS_TOO_MANY: "the status {value} is one too many: a file may hold {detail} different ones",
    LEG_FORMAT: "{value} is not a leg: write L, R or a number from 1",
    LEG_RANGE: members.LEG_RANGE,
    TEXT_ENCODING: columns.TEXT_ENCODING,
    TEXT_CONTROL: columns.TEXT_CONTROL,
    DUPLICATE_ID: "the member {value} is already on line {detail}: keep one of the two",
    SPONSOR_UNKNOWN: "the sponsor {value} is not in the file: add it, or name another, or leave it empty for a root",
    PLACEMENT_UNKNOWN: "the placement {value} is not in the file: add it, or name another, or leave it empty",
    SPONSOR_CYCLE: "the member is in its own upline ({detail}): give one of them another sponsor",
    PLACEMENT_CYCLE: "the member is above itself ({detail}): give one of them another placement",
    LEG_TAKEN: "the leg {value} is already taken on line {detail}: choose another",
    LEG_WITHOUT_PLACEMENT: members.LEG_WITHOUT_PLACEMENT,
    NUMBER_FORMAT: columns.NUMBER_FORMAT,
    NUMBER_PLACES: columns.NUMBER_PLACES,
    NUMBER_RANGE: columns.NUMBER_RANGE,
    TEXT_RETURN: "a carriage return outside of quotes: put the text in quotes, or end lines as all others do",
}


def reason(code: int, *, value: bytes = b"", detail: object = "") -> str:
    """The sentence for a fault; `detail` as REASONS says."""
    return REASONS[code].format(value=quoted_bytes(value), detail=detail, places=detail)
