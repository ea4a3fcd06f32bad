"""Days as requests write them."""

from __future__ import annotations

import datetime
import re

from services.shared.serving.errors import InvalidArgumentError

EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def day_number(text: str, field: str) -> int:
    """Days from 1970-01-01 to a day "YYYY-MM-DD".

    Raises:
        InvalidArgumentError: It is not one; names the request's field.
    """
    try:
        if not DAY.fullmatch(text):
            raise ValueError("not YYYY-MM-DD")
        return datetime.date.fromisoformat(text).toordinal() - EPOCH_ORDINAL
    except ValueError as error:
        raise InvalidArgumentError(
            f'{field} "{text}" is not a day: write it as "2026-11-30"', reason="DAY_INVALID", field=field, value=text
        ) from error
