"""The logs that an operator looks at in a browser, and the echo of each update.

| name | what |
|---|---|
| mtree.log | what the node does: states, imports, snapshots, faults |
| hpushup.log | updates as they are applied, some of each second |

Each is a file of bounded size with one older file beside it. Whoever follows one gets the lines as they are written;
one who reads too slowly loses lines, and is told how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from fasttree.v1 import types_pb2
from services.shared.domain.sentences import counted, plain
from services.treenode.tree import NotApplied

NODE_LOG = "mtree.log"
PUSH_LOG = "hpushup.log"
LINES_MAX = 10_000
#: Bytes of a file's end that a tail looks at.
TAIL_BYTES_MAX = 4 * 1024**2
#: Lines that wait for one follower.
FOLLOWER_LINES_MAX = 2_000
FOLLOWERS_MAX = 50
#: How long one may follow, in seconds; whoever wants to goes on with another request.
FOLLOW_S_MAX = 3_600.0
LINE_LENGTH_MAX = 500


class TooManyFollowersError(Exception):
    """No more may follow at the same time."""


class Broadcast:
    """Lines to whoever listens now."""

    def __init__(self) -> None:
        self._followers: list[_Follower] = []

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._followers)

    @property
    def spare_lines(self) -> int:
        """Lines that the least patient listener still takes."""
        return min((FOLLOWER_LINES_MAX - follower.lines.qsize() for follower in self._followers), default=0)

    def tell(self, line: str) -> None:
        """One line, without its end."""
        for follower in self._followers:
            follower.tell(line)

    def skipped(self, count: int) -> None:
        """So many lines were not even made."""
        for follower in self._followers:
            follower.skipped += count

    async def follow(self) -> AsyncIterator[str]:
        """Lines as they come, on and on.

        Raises:
            TooManyFollowersError: FOLLOWERS_MAX do already.
        """
        if len(self._followers) >= FOLLOWERS_MAX:
            raise TooManyFollowersError(f"{FOLLOWERS_MAX} follow already; try again later")
        follower = _Follower()
        self._followers.append(follower)
        try:
            while True:
                yield await follower.lines.get()
        finally:
            self._followers.remove(follower)


class _Follower:
    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue(FOLLOWER_LINES_MAX)
        self.skipped = 0

    def tell(self, line: str) -> None:
        if self.lines.qsize() >= FOLLOWER_LINES_MAX - 1:
            self.skipped += 1
            return
        if self.skipped:
            self.lines.put_nowait(f"… {counted(self.skipped, 'line')} skipped")
            self.skipped = 0
        self.lines.put_nowait(line)


class DebugLog:
    """One log: a file that is started anew when it is full, with the one before kept as `….1`."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._older = path.with_name(path.name + ".1")
        self._bytes_max = bytes_max
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size_bytes = self._file.tell()
        self.broadcast = Broadcast()

    def write(self, lines: Sequence[str]) -> None:
        """Adds lines, with the time before each."""
        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        stamped = [f"{stamp} {_one_line(line)}" for line in lines]
        data = "".join(line + "\n" for line in stamped).encode()
        if self._size_bytes + len(data) > self._bytes_max:
            self._turn_over()
        # A full disk must not end the node: the line is lost, the follower still hears it.
        with contextlib.suppress(OSError):
            self._size_bytes += self._file.write(data[: self._bytes_max])
        for line in stamped:
            self.broadcast.tell(line)

    def tail(self, lines: int) -> list[str]:
        """The last lines, oldest first. Blocks on the disk."""
        wanted = max(0, min(lines, LINES_MAX))
        found: list[str] = []
        for path in (self._path, self._older):
            if len(found) < wanted:
                found = [*_last_lines(path, wanted - len(found)), *found]
        return found

    def close(self) -> None:
        self._file.close()

    def _turn_over(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
            self._path.replace(self._older)
        self._file = self._path.open("ab", buffering=0)
        self._size_bytes = self._file.tell()


def _one_line(text: str) -> str:
    shown = text if len(text) <= LINE_LENGTH_MAX else text[:LINE_LENGTH_MAX] + "…"
    return plain(shown.replace("\r", " ").replace("\n", " | "))


def _last_lines(path: Path, count: int) -> list[str]:
    if count <= 0:
        return []
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(max(0, size_bytes - TAIL_BYTES_MAX))
            data = file.read(TAIL_BYTES_MAX)
    except OSError:
        return []
    lines = data.decode(errors="replace").splitlines()
    return (lines[1:] if size_bytes > TAIL_BYTES_MAX else lines)[-count:]


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
