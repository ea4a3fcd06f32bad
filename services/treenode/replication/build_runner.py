"""Does the work of a build for the cutover's core (`services/treenode/node/cutover.py`), and tells it what came of it.

How the new tree is made is for each of the three ways to say, in a class of its own; how it reads the log, enters the
gate and ends is the same for all, and stands here. The work goes on in tasks and threads, one piece at a time.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence

import grpc
import grpc.aio

from fasttree.v1 import types_pb2
from services.shared.serving.errors import FailedPreconditionError, FastTreeError, UnavailableError
from services.shared.wire.record import RecordDamagedError
from services.treenode.node.cutover_events import (
    BuildAction,
    BuildEvent,
    BuildFailed,
    Cancelled,
    CarriedFound,
    CarriedOffered,
    Cause,
    Compare,
    Compared,
    EnterGate,
    Failed,
    FindCarried,
    Had,
    InGate,
    LogRead,
    LogReadFailed,
    MakeTree,
    OfferCarried,
    ReadLog,
    Refused,
    Stop,
    Taken,
    TakeTree,
    TreeBuilt,
)
from services.treenode.node.node import NodeEvent
from services.treenode.node.runner import NodeRunner
from services.treenode.replication.applying import Replayer, halt_of
from services.treenode.replication.pusher_log import PusherLog
from services.treenode.tree import CarriedHold, Tree, UpdateFailedError, defect

Outcome = Taken | Had | Refused | Failed

#: Errors that say of themselves that the log could not be read.
OF_THE_LOG = (FastTreeError, RecordDamagedError, grpc.aio.AioRpcError)

logger = logging.getLogger(__name__)


class BuildRunner(ABC):
    """One new tree, from the asking to its end."""

    def __init__(self, node: NodeRunner, pusher_address: str) -> None:
        """`pusher_address`: where the log is read."""
        self.node = node
        self.number = node.register(self)
        self._pusher_address = pusher_address
        self._replayer: Replayer | None = None
        self._log: PusherLog | None = None
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        #: All and only the tasks that have not ended; the last one is the work at hand.
        self._tasks: list[asyncio.Task[None]] = []
        #: Of what the tree is offered, what waits for removed members.
        self.holds: tuple[CarriedHold, ...] = ()
        #: Whether the tree knows of the removals before it: else they are the live tree's.
        self.removals_carried = False
        #: Why the work failed last; None where it did not.
        self.error: Exception | None = None

    # -- for each way to say

    @abstractmethod
    async def make(self) -> Tree:
        """Makes the new tree."""

    async def compare(self) -> str:
        """Why the new tree differs too much from the live one; empty where it does not."""
        raise NotImplementedError

    def meant(self, positions: Sequence[int], updates: Sequence[types_pb2.Update]) -> Sequence[types_pb2.Update]:
        """Carried updates with what they left open filled in, as it was at their positions."""
        raise NotImplementedError

    def failed_to_make(self, error: Exception) -> BuildEvent:
        """What to say of an error of `make`."""
        return BuildFailed(self.number, str(error) or repr(error))

    def read_share(self, share: float) -> None:  # noqa: B027 - few care
        """So much of the log that was asked for is read."""

    @property
    def percent(self) -> int:
        """How much of the way is done, for whoever looks on."""
        return 0

    # -- for whoever asks

    async def run(self, asked: NodeEvent) -> Outcome:
        """Tells the core that the build is asked for; what it came to. Cancelled: the build ends."""
        try:
            self.node.handle(asked)
            return await self._outcome
        except asyncio.CancelledError:
            self.node.handle(Cancelled(self.number))
            raise
        finally:
            self.node.forget(self.number)
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._log is not None:
                await self._log.close()

    def error_of(self, failed: Failed) -> Exception:
        """What to raise where the build failed: the work's own error, where that was the cause."""
        if failed.cause is Cause.OTHER_LOG:
            return FailedPreconditionError(failed.reason, reason=failed.cause.value)
        if failed.cause is Cause.NOT_BUILT and self.error is not None:
            return self.error
        if failed.cause is Cause.LOG_NOT_READ and not isinstance(self.error, OF_THE_LOG):
            return self.error or UnavailableError(failed.reason, reason=failed.cause.value)
        return UnavailableError(failed.reason, reason=failed.cause.value)

    # -- for the node's shell

    @property
    def tree(self) -> Tree:
        """The new tree, once it was made."""
        assert self._replayer is not None, "there is no tree yet"
        return self._replayer.tree

    @property
    def last_record(self) -> tuple[int, int]:
        """Position and checksum of the newest record that was read into it; (0, 0): none."""
        return self._replayer.last_record if self._replayer is not None else (0, 0)

    def take_in(self, tree: Tree, last_record: tuple[int, int] = (0, 0)) -> None:
        """The new tree is made. `last_record`: the newest one that its maker knows to be in it."""
        self.node.teach_skips(tree)
        self._replayer = Replayer(tree, self.node.settings.apply_slice_ms, last_record, self.node.before_seal)

    def perform(self, action: BuildAction) -> None:
        """Begins what the core asks for, or ends it."""
        match action:
            case MakeTree():
                self._begin(self._make())
            case FindCarried():
                self._begin(self._find_carried(action.as_of_position))
            case OfferCarried():
                self._begin(self._offer(action.positions))
            case ReadLog():
                self._begin(self._read(action.first_position, action.last_position))
            case Compare():
                self._begin(self._compare())
            case EnterGate():
                self._begin(self._enter_gate())
            case Stop():
                logger.info("build %d ends: %s", self.number, action.reason)
                for task in self._tasks:
                    if task is not asyncio.current_task():
                        task.cancel()
            case Taken() | Had() | Refused() | Failed():
                if not self._outcome.done():
                    self._outcome.set_result(action)
            case TakeTree():
                raise AssertionError("the node's shell takes trees")

    def _begin(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # the core refused what came of it: a defect
                self.node.fail(error)

        task = asyncio.ensure_future(guarded())
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _make(self) -> None:
        try:
            self.take_in(await self.make())
        except Exception as error:
            self.error = error
            self.node.handle(self.failed_to_make(error))
        else:
            self.node.handle(TreeBuilt(self.number, self.tree.position))

    async def _find_carried(self, as_of_position: int) -> None:
        live = self.node.in_force.tree
        positions, self.holds = live.carried_positions(as_of_position), tuple(live.carried_holds(as_of_position))
        if not self.removals_carried:
            self.tree.carry_removals(live.removals_at(as_of_position))
        self.node.handle(CarriedFound(self.number, tuple(positions)))

    async def _offer(self, positions: tuple[int, ...]) -> None:
        skips = self.node.skips
        # The record of one that is skipped may be one that nobody can read.
        wanted = [position for position in positions if position not in skips]
        try:
            updates = dict(zip(wanted, await self._opened_log().updates_at(wanted), strict=True))
            offered = [updates.get(position, types_pb2.Update()) for position in positions]
            self.tree.offer_carried(positions, self.meant(positions, offered), self.holds)
        except Exception as error:
            self.node.handle(self._unread(error))
        else:
            self.node.handle(CarriedOffered(self.number))

    async def _read(self, first_position: int, last_position: int) -> None:
        assert self._replayer is not None
        try:
            async for records in self._opened_log().read(first_position, last_position):
                await self._replayer.apply(records)
                self.read_share((self.tree.position + 1 - first_position) / (last_position + 1 - first_position))
        except Exception as error:
            self.node.handle(self._unread(error))
        else:
            self.node.handle(LogRead(self.number, self.tree.position))

    def _unread(self, error: Exception) -> LogReadFailed:
        self.error = error
        if isinstance(error, UpdateFailedError):
            self.node.note_build_fault(halt_of(error))
            logger.error("a new tree can't be built: %s", error, exc_info=error.__cause__)
            return LogReadFailed(self.number, f"the engine fails: {error}", engine_failed=True)
        text = str(error.details() if isinstance(error, grpc.aio.AioRpcError) else error) or repr(error)
        damaged = isinstance(error, RecordDamagedError)
        damaged = damaged or (isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.DATA_LOSS)
        return LogReadFailed(self.number, text, damaged)

    async def _compare(self) -> None:
        try:
            refusal = await self.compare()
        except Exception as error:
            logger.exception("the new tree can't be compared with the live one")
            refusal = f"import refused: it can't be compared with the live tree: {defect(error)}"
        self.node.handle(Compared(self.number, refusal))

    async def _enter_gate(self) -> None:
        async with self.node.gate.write():
            self.node.handle(InGate(self.number))

    def _opened_log(self) -> PusherLog:
        if self._log is None:
            # Of the node's log at the time of asking: where it goes over to another one, the core ends the build.
            self._log = PusherLog(
                self._pusher_address, self.node.settings.log_silence_s, self.node.core.sequence.log_id
            )
        return self._log
