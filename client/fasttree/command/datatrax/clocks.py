"""How far another machine's clock is from this one's, by what its HTTP port says."""

from __future__ import annotations

import email.utils


def clock_difference_s(date: str, before_s: float, after_s: float) -> float | None:
    """The least that it can be, in seconds; None where `date` is no time of HTTP.

    Args:
        date: As HTTP writes it: whole seconds, so the clock there is at that second or within it.
        before_s, after_s: This machine's clock before the question and after the answer.
    """
    try:
        there_s = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return None
    if there_s > after_s:
        return there_s - after_s
    return max(before_s - (there_s + 1.0), 0.0)
