"""Whoever sends a token, and why one is refused. Nothing here reads one, so that guards need not load what does."""

from __future__ import annotations

from typing import Final, NamedTuple

INVALID: Final = "TOKEN_INVALID"
EXPIRED: Final = "TOKEN_EXPIRED"
REVOKED: Final = "TOKEN_REVOKED"


class TokenError(Exception):
    """Why a token is refused.

    Args:
        cause: For this process's log alone: nothing of the token is in it.
        reason: For the caller. What is wrong with a token that nobody we know has signed is not his affair.
    """

    def __init__(self, cause: str, reason: str = INVALID) -> None:
        super().__init__(cause)
        self.cause = cause
        self.reason = reason


class Bearer(NamedTuple):
    """Who sends a token."""

    #: `token://ROLE/SUBJECT`, one for each of the roles: a room of names that no certificate has.
    principals: tuple[str, ...]
    #: The member whose downline is all that this caller sees; None: everybody's.
    leads: str | None
    #: Seconds since 1970 from when on the token is good no more, clocks' difference included.
    until_s: float
    subject: str
    #: Its jti; empty where it has none.
    token_id: str
