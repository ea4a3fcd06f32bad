"""The calls of ReportService: of the tree as it is, or of the state of the closed period that a request names.

A closed period has a report service of its own, over a tree that never changes; memory, threads and streams it shares
with the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from fasttree.v1 import types_pb2
from services.shared.domain.days import PERIOD_FORMAT, is_period
from services.shared.domain.sentences import quoted
from services.shared.serving.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from services.treenode.node.runner import NodeRunner
from services.treenode.periods.files import KeptFile
from services.treenode.periods.keeping import Kept
from services.treenode.periods.opened import Opened
from services.treenode.periods.runner import PeriodKeeper
from services.treenode.reports import ReportServicer
from services.treenode.reports.as_of import StateAsOf
from services.treenode.reports.copy.gate import ReadGate
from services.treenode.reports.copy.node_reader import Context
from services.treenode.reports.serving import SERVICE
from services.treenode.snapshots.state_file import StateDamagedError, map_state
from services.treenode.tree import StateError, Tree
from services.treenode.tree.building.kept import tree_over

#: After which a period that is being written or fetched may be there, in seconds.
RETRY_S = 1.0
#: What is left to a call after a wait, in seconds.
_MARGIN_S = 0.05
_UnaryCall: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
_StreamCall: TypeAlias = Callable[[Any, Context], AsyncIterator[bytes]]


class ClosedView:
    """A closed period, as reports see a node."""

    def __init__(self, node: NodeRunner, tree: Tree, period: str, gate: ReadGate) -> None:
        self._node = node
        self._as_of = StateAsOf(
            types_pb2.AsOf(
                import_id=tree.import_id, position=tree.position, node=node.settings.name, closed_period=period
            )
        )
        self.tree: Tree | None = tree
        #: Nobody ever writes.
        self.gate = gate

    def as_of_bytes(self) -> bytes:
        """As of NodeView."""
        return self._as_of.encoded(self._node.core.role.epoch)

    async def wait_for_position(self, position: int) -> None:
        """Of the live tree: so that a report may follow the record that closed the period."""
        await self._node.wait_for_position(position)


class ReportCalls:
    """Every call of the service, by its name."""

    def __init__(self, node: NodeRunner, live: ReportServicer, keeper: PeriodKeeper) -> None:
        self._node = node
        self._live = live
        self._keeper = keeper
        self._gate = ReadGate()
        settings = node.settings
        self.opened: Opened[Kept, ReportServicer] = Opened(
            settings.periods_open_max, settings.report_copies_waiting_max, self._open
        )
        for method in SERVICE.methods:
            in_options = "options" in method.input_type.fields_by_name
            make = self._stream if method.server_streaming else self._unary
            setattr(self, method.name, make(method.name, _in_options if in_options else _in_request))

    def close(self) -> None:
        """Ends the threads, once their work is done."""
        self._gate.close()

    def _unary(self, name: str, asked: Callable[[Any], Any]) -> _UnaryCall:
        live: _UnaryCall = getattr(self._live, name)

        async def closed(options: Any, request: Any, context: Context) -> Any:
            async with self._closed(options, context) as servicer:
                return await getattr(servicer, name)(request, context)

        def call(request: Any, context: Context) -> Awaitable[Any]:
            options = asked(request)
            return live(request, context) if options is None else closed(options, request, context)

        return call

    def _stream(self, name: str, asked: Callable[[Any], Any]) -> _StreamCall:
        live: _StreamCall = getattr(self._live, name)

        async def call(request: Any, context: Context) -> AsyncIterator[bytes]:
            options = asked(request)
            if options is None:
                async with contextlib.aclosing(live(request, context)) as answers:  # type: ignore[type-var]
                    async for answer in answers:
                        yield answer
                return
            async with (
                self._closed(options, context) as servicer,
                contextlib.aclosing(getattr(servicer, name)(request, context)) as answers,
            ):
                async for answer in answers:
                    yield answer

        return call

    @contextlib.asynccontextmanager
    async def _closed(self, options: Any, context: Context) -> AsyncIterator[ReportServicer]:
        """The service of a closed period. Raises what the proto says of requests that name one."""
        period = options.as_of_period
        if not is_period(period):
            raise InvalidArgumentError(
                f"as_of_period: {PERIOD_FORMAT.format(value=quoted(period))}",
                reason="PERIOD_UNKNOWN",
                field="as_of_period",
                value=period,
            )
        left_s = context.time_remaining()
        wait_s = self._node.settings.report_position_wait_s_max if left_s is None else left_s - _MARGIN_S
        await self._live.tree_at(options.min_position, context)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(max(0.0, wait_s)):
                    file = await self._file_of(period, context)
                    servicer = await stack.enter_async_context(self.opened.use(file.state))
            except TimeoutError:
                raise _coming(period) from None
            except (StateDamagedError, StateError, OSError) as error:
                self._keeper.damaged(file, str(error))
                raise _coming(period) from error
            yield servicer

    async def _file_of(self, period: str, context: Context) -> KeptFile:
        """What is kept of the period, once it is there."""
        while True:
            rules = (await self._live.tree_at(0, context)).rules
            if period not in rules.sealed_periods:
                raise _not_closed(period, rules.periods)
            file = self._keeper.file_of(period)
            if file is not None:
                return file
            self._keeper.look()
            if not self._keeper.core.is_coming(period):
                raise self._not_kept(period)
            await self._keeper.changed()

    def _not_kept(self, period: str) -> FailedPreconditionError:
        core = self._keeper.core
        why = core.problems.get(period)
        if why is None:
            kept_max = self._node.settings.periods_kept
            why = f"it is older than the {kept_max} periods that this node keeps (treenode.periods_kept)"
        others = self._keeper.peers.who_has(period, self._node.core.sequence.log_id)
        mend = f"ask {', '.join(others)}, which has it" if others else "`fasttree period list` shows which nodes do"
        return FailedPreconditionError(
            f"this node does not keep period {period}: {why}; {mend}",
            reason="PERIOD_NOT_KEPT",
            field="as_of_period",
            value=period,
        )

    def _open(self, state: Kept) -> ReportServicer:
        """Maps a file. In a thread."""
        mapped = map_state(self._keeper.files.check(state))
        tree = tree_over(mapped.meta, mapped.arrays, state.period)
        found, label = (tree.import_id, tree.position, tree.digest), mapped.label
        if found != tuple(label.get(name) for name in ("import_id", "position", "digest")):
            raise StateError(f"it holds (import, position, digest) {found}, its label says otherwise")
        return ReportServicer(ClosedView(self._node, tree, state.period, self._gate), like=self._live)


def _in_options(request: Any) -> Any:
    """What names a closed period, in the requests of most reports; None where nothing does."""
    return request.options if request.HasField("options") and request.options.as_of_period else None


def _in_request(request: Any) -> Any:
    """The same of those that have no options."""
    return request if request.as_of_period else None


def _coming(period: str) -> UnavailableError:
    return UnavailableError(
        f"the state of period {period} is being written or fetched: try again",
        reason="PERIOD_COMING",
        retry_after_s=RETRY_S,
    )


def _not_closed(period: str, open_periods: tuple[str, ...]) -> FailedPreconditionError | InvalidArgumentError:
    if period in open_periods:
        return FailedPreconditionError(
            f"period {period} is not closed for good yet: leave as_of_period out, and name it as period; "
            "`fasttree period list` shows what each takes",
            reason="PERIOD_NOT_CLOSED",
            field="as_of_period",
            value=period,
        )
    return InvalidArgumentError(
        f"there was no period {period}: `fasttree period list` shows those that there are",
        reason="PERIOD_UNKNOWN",
        field="as_of_period",
        value=period,
    )
