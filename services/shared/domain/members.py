"""What a member's own fields may hold: ids, status, rank, leg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.shared.domain.limits import (
    CUSTOMER_STATUSES_MAX,
    LEG_MAX,
    MEMBER_ID_LENGTH_MAX,
    RANK_MAX,
    STATUS_LENGTH_MAX,
)
from services.shared.domain.sentences import quoted

ID_EMPTY: Final = f"the id is empty: every member needs 1 to {MEMBER_ID_LENGTH_MAX} printable ASCII characters"
ID_TOO_LONG: Final = f"the id {{value}} is longer than {MEMBER_ID_LENGTH_MAX} characters: shorten it"
ID_CHARACTER: Final = "the id {value} has a character that is not printable ASCII: use letters, digits, punctuation"
ID_SPACE: Final = "the id {value} begins or ends with a space: take it out"
STATUS_TOO_LONG: Final = f"the status {{value}} is longer than {STATUS_LENGTH_MAX} characters: shorten it"
STATUS_CHARACTER: Final = "the status {value} has a character that is not printable ASCII: use letters and digits"
RANK_FORMAT: Final = f"{{value}} is not a whole number: write a rank from 0 to {RANK_MAX}"
RANK_RANGE: Final = f"{{value}} is out of range: write a rank from 0 to {RANK_MAX}"
LEG_RANGE: Final = f"{{value}} is out of range: write a leg from 1 to {LEG_MAX}"
LEG_WITHOUT_PLACEMENT: Final = "a leg without a placement_id: name the placement, or leave the leg empty"


def is_name(text: str, length_max: int) -> bool:
    """Whether a text is 1 to `length_max` printable ASCII characters without a space at either end."""
    return 0 < len(text) <= length_max and text.isascii() and text.isprintable() and text.strip() == text


def id_problem(member_id: str) -> str | None:
    """What makes a text no member's id; None where nothing does."""
    if is_name(member_id, MEMBER_ID_LENGTH_MAX):
        return None
    if not member_id:
        return ID_EMPTY
    if len(member_id) > MEMBER_ID_LENGTH_MAX:
        return ID_TOO_LONG.format(value=quoted(member_id))
    plain = member_id.isascii() and member_id.isprintable()
    return (ID_SPACE if plain else ID_CHARACTER).format(value=quoted(member_id))


def status_problem(status: str) -> str | None:
    """What makes a text no status; None where nothing does."""
    if len(status) > STATUS_LENGTH_MAX:
        return STATUS_TOO_LONG.format(value=quoted(status))
    if not status.isascii() or not status.isprintable():
        return STATUS_CHARACTER.format(value=quoted(status))
    return None


def customer_statuses_problem(statuses: Sequence[str]) -> str | None:
    """What is wrong with a list of the status codes of customers; None where nothing is."""
    if len(statuses) > CUSTOMER_STATUSES_MAX:
        return f"there are {len(statuses)}: {CUSTOMER_STATUSES_MAX} at most"
    if len(set(statuses)) < len(statuses):
        return "one stands there twice"
    wrong = next((each for each in statuses if not each or status_problem(each)), None)
    return None if wrong is None else f"{quoted(wrong)}: {status_problem(wrong) or 'an empty code is none'}"


def rank_problem(rank: int) -> str | None:
    """What makes a number no rank; None where nothing does."""
    return None if 0 <= rank <= RANK_MAX else RANK_RANGE.format(value=rank)


def leg_problem(leg: int) -> str | None:
    """What makes a number no leg; None where nothing does, and for 0: none is named."""
    return None if 0 <= leg <= LEG_MAX else LEG_RANGE.format(value=leg)
