"""Days as requests write them."""

from __future__ import annotations

from services.shared.domain import days
from services.shared.domain.sentences import quoted
from services.shared.serving.errors import InvalidArgumentError


def day_number(text: str, field: str) -> int:
    """Days from 1970-01-01 to a day "YYYY-MM-DD".

    Raises:
        InvalidArgumentError: It is not one; names the request's field.
    """
    if not text or days.day_problem(text):
        raise InvalidArgumentError(
            f'{field} {quoted(text)} is not a day: write it as "2026-11-30"',
            reason="DAY_INVALID",
            field=field,
            value=text,
        )
    return days.day_number(text)
