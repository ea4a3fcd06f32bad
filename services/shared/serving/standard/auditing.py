"""Calls that are written down: before they are made and once they are over, by whoever serves; and who was refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

import grpc

from services.shared.domain.sentences import with_mend
from services.shared.security.audit.decisions import OPERATIONS, told_of
from services.shared.security.audit.log import AuditLog, own_audit
from services.shared.security.audit.records import Entry, Kind
from services.shared.security.guard import Refusal
from services.shared.security.own import own_guard
from services.shared.serving.errors import FailedPreconditionError, FastTreeError

logger = logging.getLogger(__name__)


class Told(NamedTuple):
    """Who makes a call, as it is written down."""

    principal: str = ""
    #: The policy that let him in, and its rule; empty: nobody is asked.
    policy: str = ""
    rule: str = ""
    #: Whose certificate it came by, where it came in the name of a token; empty: the caller's own, or none.
    by: str = ""

    def details(self) -> dict[str, Any]:
        """What stands of it beside the form of A59."""
        return {"by": self.by} if self.by else {}


UNASKED: Final = Told()


def caller_of(context: Any, path: str) -> Told:
    """Who makes a call that was let in, and by which rule."""
    caller = getattr(context, "caller", None)
    return UNASKED if caller is None else _told(caller.principals, path)._replace(by=" ".join(caller.by))


def note_refused(path: str, refusal: Refusal, peer: str) -> None:
    """A call or a page that no rule allows, or of nobody knows whom."""
    if (log := own_audit()) is not None:
        status = grpc.StatusCode.UNAUTHENTICATED if refusal.unauthenticated else grpc.StatusCode.PERMISSION_DENIED
        entry = _of(log, Kind.REFUSED, path, _told(refusal.principals, path), peer)
        log.refused(entry._replace(authorized=False, status=status.name, reason=refusal.reason))


def note_denied(path: str, error: FastTreeError, context: Any) -> None:
    """A call that a rule lets in, and its handler does not: in the name of somebody else, say."""
    if (log := own_audit()) is not None:
        told = caller_of(context, path)
        entry = _of(log, Kind.REFUSED, path, told, context.peer())
        log.refused(
            entry._replace(authorized=False, status=error.code.name, reason=error.reason, details=told.details())
        )


def note_stranger(path: str, why: str, peer: str) -> None:
    """Whoever did not say who he is, or could not prove it."""
    if (log := own_audit()) is not None:
        entry = _of(log, Kind.REFUSED, path, UNASKED, peer)
        log.refused(entry._replace(authorized=False, status=grpc.StatusCode.UNAUTHENTICATED.name, reason=why))


def _told(principals: tuple[str, ...], path: str) -> Told:
    guard = own_guard()
    if guard is None or not principals:
        return Told(" ".join(principals))
    return Told(" ".join(principals), *guard.rule_of(principals, path))


def _of(log: AuditLog, kind: str, path: str, told: Told, peer: str) -> Entry:
    return log.entry(kind, path, principal=told.principal, policy=told.policy, rule=told.rule, peer=peer)


class NotWrittenDownError(FailedPreconditionError):
    """Nothing was done, since it can't be written down."""


class WrittenDown:
    """One operation, from before it is done until it is over.

    Args:
        path: The call's.
        details: What of its request is written down.
    """

    def __init__(self, log: AuditLog, path: str, caller: Told, peer: str, details: dict[str, Any]) -> None:
        self._log = log
        self._entry = _of(log, Kind.BEGUN, path, caller, peer)._replace(
            call=log.new_call(), details={**details, **caller.details()}
        )

    async def begin(self) -> None:
        """Returns once it is on the disk. Raises FailedPreconditionError where it can't be: nothing is done then."""
        try:
            await asyncio.wrap_future(self._log.write(self._entry))
        except asyncio.CancelledError:  # its caller has left
            self.end_soon(grpc.StatusCode.CANCELLED.name)
            raise
        except OSError as error:
            raise NotWrittenDownError(
                f"nothing was done, for it can't be written down who did it: {with_mend(error)} "
                f"({self._log.folder}, audit.folder), then ask again",
                reason="AUDIT_NOT_WRITTEN",
            ) from None

    async def end(self, status: str, reason: str = "", details: dict[str, Any] | None = None) -> None:
        """It is over. What can't be written down now has happened all the same: the log of the process says so."""
        ended = asyncio.wrap_future(self.end_soon(status, reason, details))
        await asyncio.wait([ended])
        if (problem := ended.exception()) is not None:
            logger.error("audit: that %s ended %s is not written down: %s", self._entry.path, status, problem)

    def end_soon(self, status: str, reason: str = "", details: dict[str, Any] | None = None) -> Future[None]:
        """The same, for whoever can't wait."""
        now = self._log.entry(Kind.ENDED)
        details = {**self._entry.details, **(details or {})}
        return self._log.write(
            self._entry._replace(kind=now.kind, time_s=now.time_s, status=status, reason=reason, details=details)
        )


@contextlib.asynccontextmanager
async def operation(path: str, caller: Told, peer: str, details: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Around what is done: what came of it is put into what this gives. Raises FailedPreconditionError before anything
    is done where it can't be written down."""
    came_of_it: dict[str, Any] = {}
    log = own_audit()
    if log is None:
        yield came_of_it
        return
    written = WrittenDown(log, path, caller, peer, details)
    await written.begin()
    try:
        yield came_of_it
    except FastTreeError as error:
        await written.end(error.code.name, error.reason)
        raise
    except Exception as error:
        await written.end(FastTreeError.code.name, type(error).__name__)
        raise
    except BaseException:  # its caller has left
        written.end_soon(grpc.StatusCode.CANCELLED.name)
        raise
    await written.end(grpc.StatusCode.OK.name, "", came_of_it)


def written_down(path: str, behavior: Any) -> Any:
    """The handler of a call of one answer, which is not run before it is written down who runs it."""
    decided = OPERATIONS.get(path)
    if decided is None:
        return behavior

    async def call(request: Any, context: Any) -> Any:
        asked = told_of(request, decided.asked) if decided.asked else {}
        async with operation(path, caller_of(context, path), context.peer(), asked) as came_of_it:
            answer = await behavior(request, context)
            came_of_it |= told_of(answer, decided.answered)
        return answer

    return call
