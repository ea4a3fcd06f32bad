"""The logs that an operator looks at in a browser, and the echo of each update.

| name | what |
|---|---|
| mtree.log | what the node does: states, imports, snapshots, faults |
| hpushup.log | updates as they are applied, some of each second |
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence

from fasttree.v1 import types_pb2
from services.shared.debug.broadcast import Broadcast
from services.shared.debug.debug_log import DebugLog
from services.shared.domain.sentences import counted
from services.treenode.tree import NotApplied


class LogHandler(logging.Handler):
    """Writes what the node logs into a DebugLog. Lines of other threads go over the loop."""

    def __init__(self, log: DebugLog, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.INFO)
        self._log = log
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname} {record.name.rpartition('.')[2]}: {record.getMessage()}"
        with contextlib.suppress(RuntimeError):  # the loop is closed: the node has ended
            self._loop.call_soon_threadsafe(self._log.write, [line])


class UpdateEcho:
    """Tells hpushup.log and the listeners of /debug.txt what is applied."""

    def __init__(self, log: DebugLog, lines_per_s: int) -> None:
        self._log = log
        self._lines_per_s = lines_per_s
        self._second = 0
        self._left = 0
        self._unwritten = 0
        self.echo = Broadcast()

    def applied(
        self, now_s: float, first_position: int, updates: Sequence[types_pb2.Update], not_applied: Sequence[NotApplied]
    ) -> None:
        """A slice was applied. Costs next to nothing for what is not shown."""
        if int(now_s) != self._second:
            self._begin_second(int(now_s))
        count = len(updates)
        shown = min(count, self._left)
        echoed = min(count, self.echo.spare_lines) if self.echo.heard else 0
        lines = list(_lines(first_position, updates[: max(shown, echoed)], not_applied))
        if shown:
            self._left -= shown
            self._log.write(lines[:shown])
        self._unwritten += count - shown
        for line in lines[:echoed]:
            self.echo.tell(line)
        if self.echo.heard and echoed < count:
            self.echo.skipped(count - echoed)

    def _begin_second(self, second: int) -> None:
        if self._unwritten:
            self._log.write([f"… {counted(self._unwritten, 'more update')}"])
        self._second, self._left, self._unwritten = second, self._lines_per_s, 0


def _lines(
    first_position: int, updates: Sequence[types_pb2.Update], not_applied: Sequence[NotApplied]
) -> Iterator[str]:
    others = {update.position: update for update in not_applied}
    for position, update in enumerate(updates, first_position):
        other = others.get(position)
        outcome = "applied" if other is None else f"{types_pb2.Outcome.Name(other.outcome)[8:].lower()}: {other.reason}"
        yield f"{position} {update.update_id} {_change(update)} {outcome}"


def _change(update: types_pb2.Update) -> str:
    match update.WhichOneof("change"):
        case "volume_posted":
            posted = update.volume_posted
            sign = "-" if posted.amount_hundredths < 0 else "+"
            amount = f"{sign}{abs(posted.amount_hundredths) // 100}.{abs(posted.amount_hundredths) % 100:02d}"
            return " ".join(filter(None, ("volume", posted.member_id, amount, posted.volume_type, posted.period)))
        case "member_enrolled":
            enrolled = update.member_enrolled
            return f"enrolled {enrolled.member_id} sponsor {enrolled.sponsor_id or '-'}"
        case "member_changed":
            return f"changed {update.member_changed.member_id}"
        case "member_moved":
            return f"moved {update.member_moved.member_id} to {update.member_moved.new_parent_id or '-'}"
        case "member_removed":
            return f"removed {update.member_removed.member_id}"
        case "held_settled":
            settled = update.held_settled
            action = types_pb2.HeldAction.Name(settled.action).removeprefix("HELD_ACTION_").lower()
            return f"{action} held {settled.member_id or settled.position}"
        case _:
            return "unknown"
