"""Pages of held and rejected updates. Nothing here awaits: each function sees one state of the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from fasttree.v1 import report_pb2, types_pb2
from services.shared.domain.limits import UPDATE_ID_LENGTH_MAX
from services.shared.domain.sentences import quoted
from services.shared.serving.errors import InvalidArgumentError
from services.treenode.reports.copy.extents import checked_id
from services.treenode.reports.plan.page_tokens import PageKey, page_token, read_page_token, request_digest
from services.treenode.reports.plan.paging import page_size

if TYPE_CHECKING:
    from services.treenode.tree import NotApplied, Tree


class HeldPage:
    """One request for held updates, by position."""

    def __init__(self, request: report_pb2.ListHeldUpdatesRequest) -> None:
        """Raises InvalidArgumentError where the request can't be."""
        if request.member_id:
            checked_id(request.member_id, "member_id")
        _check_prefix(request.update_id_prefix)
        self._request = request
        self._limit = page_size(request.limit, field="limit")
        self._after = _position_of(request) or 0

    def size(self, tree: Tree) -> int:
        """Held updates that `begin` looks at, about."""
        request = self._request
        return tree.held_count if self._after or request.member_id or request.update_id_prefix else self._limit

    def begin(self, tree: Tree) -> Callable[[], report_pb2.ListHeldUpdatesResponse]:
        """The work that makes the page."""
        return lambda: self._answer(tree)

    def _answer(self, tree: Tree) -> report_pb2.ListHeldUpdatesResponse:
        request, answer = self._request, report_pb2.ListHeldUpdatesResponse()
        if request.member_id or request.update_id_prefix:
            chosen = [held for held in tree.held(request.member_id) if _begins(held, request.update_id_prefix)]
            found: Iterator[NotApplied] = iter(chosen)
            answer.total_count = len(chosen)
        else:
            found = tree.held()
            answer.total_count = tree.held_count
        page = list(islice((held for held in found if held.position > self._after), self._limit + 1))
        if len(page) > self._limit:
            answer.next_page_token = _token(page[self._limit - 1].position, request)
        answer.updates.extend(_outcomes(page[: self._limit]))
        return answer


def rejected_page(tree: Tree, request: report_pb2.ListRejectedUpdatesRequest) -> report_pb2.ListRejectedUpdatesResponse:
    """The newest rejected updates that are listed, page by page towards older ones.

    Raises:
        InvalidArgumentError: The request can't be.
    """
    _check_prefix(request.update_id_prefix)
    limit, before = page_size(request.limit, field="limit"), _position_of(request)
    listed = [rejected for rejected in tree.rejected() if _begins(rejected, request.update_id_prefix)]
    total = len(listed) if request.update_id_prefix else tree.rejected_count
    older = [rejected for rejected in listed if before is None or rejected.position < before]
    answer = report_pb2.ListRejectedUpdatesResponse(updates=_outcomes(older[-limit:]), total_count=total)
    if len(older) > limit:
        answer.next_page_token = _token(older[-limit].position, request)
    return answer


def _check_prefix(prefix: str) -> None:
    """Raises InvalidArgumentError where no update's id can begin so."""
    if len(prefix) > UPDATE_ID_LENGTH_MAX or not (prefix.isascii() and prefix.isprintable()):
        raise InvalidArgumentError(
            f"update_id_prefix {quoted(prefix)} begins no update_id: send at most {UPDATE_ID_LENGTH_MAX} printable "
            "ASCII characters",
            reason="UPDATE_ID_PREFIX_INVALID",
            field="update_id_prefix",
            value=prefix,
        )


def _begins(update: NotApplied, prefix: str) -> bool:
    return update.update_id.startswith(prefix)


def _position_of(
    request: report_pb2.ListHeldUpdatesRequest | report_pb2.ListRejectedUpdatesRequest,
) -> int | None:
    """The position that the page begins at, itself not included; None for the first page."""
    if not request.page_token:
        return None
    return read_page_token(request.page_token, request_digest(request)).number


def _token(position: int, request: report_pb2.ListHeldUpdatesRequest | report_pb2.ListRejectedUpdatesRequest) -> str:
    return page_token(PageKey(position, "", ""), request_digest(request))


def _outcomes(updates: Iterable[NotApplied]) -> Iterator[types_pb2.UpdateOutcome]:
    for update in updates:
        yield types_pb2.UpdateOutcome(
            position=update.position,
            update_id=update.update_id,
            outcome=update.outcome,
            reason=update.reason,
            waits_for_member_id=update.waits_for,
            removed_position=update.removed_at,
        )
