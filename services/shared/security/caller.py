"""Who makes a call, as its handler asks its context."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from services.shared.security.policy import Policy


class Caller(NamedTuple):
    """Who calls, by the names that count for this call."""

    principals: tuple[str, ...]
    #: The member whose downline is all that this caller sees; None: everybody's.
    leads: str | None = None
    #: The names in the certificate by which a token came: of whoever handed on what is done in another's name.
    by: tuple[str, ...] = ()
    #: A token names him, whatever the connection shows.
    by_token: bool = False
    #: The policy in force when it is asked; None: connections are in clear, and everybody may do everything.
    policy: Callable[[], Policy] | None = None

    def may(self, path: str) -> bool:
        """Whether he may do what has that name in a policy, be it no call."""
        return self.policy is None or self.policy().verdict(self.principals, path).allowed


class CallerContext:
    """A call's context in grpcio, which takes no attributes, with who calls."""

    def __init__(self, context: Any, caller: Caller) -> None:
        self._context = context
        self.caller = caller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def leads_of(context: Any) -> str | None:
    """The member whose downline is all that a call may see; None: everybody's."""
    caller: Caller | None = getattr(context, "caller", None)
    return None if caller is None else caller.leads


def may(context: Any, path: str) -> bool:
    """Whether whoever makes a call may do what has that name in a policy."""
    caller: Caller | None = getattr(context, "caller", None)
    return caller is None or caller.may(path)
