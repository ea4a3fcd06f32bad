"""What was pushed between an export and its upload, where nobody said which position the export began at.

Such a file is taken to hold every update up to the log's end. Those that came after the export began are in neither
the file nor the updates on top of it, and nobody would notice. When the export began, only the company knows; when its
file was last written, whoever uploads it can tell. So what came since is named, for a person to look at.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from fasttree.v1 import types_pb2
from services.pusher.log.frames import update_bytes
from services.pusher.log.store import LogDamagedError, LogSealedError, LogStore, NotInLogError
from services.shared.domain.sentences import counted
from services.shared.wire.record import RecordDamagedError

_SAMPLE_S = 1.0
#: Of the newest seconds in which the log grew.
_SAMPLES_KEPT = 10_000
_NAMED_MAX = 5
_NAMED_BYTES_MAX = 1 << 20
_HOW_TO_NAME = (
    "an update that the file does not hold is lost: where there is one, take the position that the export began at "
    "(`fasttree status --json`, log.position) and give it with the file"
)


class SinceExport:
    """Remembers how far the log went when, as long as the process runs; before that, the log's own marks of time do."""

    def __init__(
        self, store: LogStore, monotonic: Callable[[], float] = time.monotonic, *, after_position: int = 0
    ) -> None:
        """`after_position`: what stands before is no update that a file could lack."""
        self._store, self._monotonic, self._after_position = store, monotonic, after_position
        #: (when, how far the log went then), as of the first and each later look at which it had grown.
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES_KEPT)
        self.look()

    async def run(self) -> None:
        """For as long as the pusher runs."""
        while True:
            self.look()
            await asyncio.sleep(_SAMPLE_S)

    def look(self) -> None:
        """To be called about once a second."""
        last = self._store.ends().last
        if not self._samples or last != self._samples[-1][1]:
            self._samples.append((self._monotonic(), last))

    def remark(self, as_of_position: int, file_age_s: float | None) -> str:
        """What to say of a file that is taken as of that position because nobody named one; empty: nothing to say.

        `file_age_s`: how long ago it was last written; None where nobody knows. Reads the log: call it in a thread.
        """
        assumed = f"nobody said which position the export began at: the file is taken as of {as_of_position}"
        if file_age_s is None:
            return f"{assumed}, the log's end; {_HOW_TO_NAME}" if as_of_position > self._after_position else ""
        first = max(self._position_before(max(0.0, file_age_s)), self._after_position) + 1
        if first > as_of_position:
            return ""
        count = as_of_position + 1 - first
        came = counted(count, "update came", "updates came")
        return (
            f"{assumed}, and {came} since it was last written, or about then ({self._named(first, as_of_position)}); "
            f"{_HOW_TO_NAME}"
        )

    def _position_before(self, age_s: float) -> int:
        """How far the log went so long ago, or some time before that."""
        at_s = self._monotonic() - age_s
        for sampled_at_s, position in reversed(self._samples):
            if sampled_at_s <= at_s:
                return position
        return self._store.position_older_than(age_s)

    def _named(self, first: int, last: int) -> str:
        where = f"position {first}" if first == last else f"positions {first} to {last}"
        try:
            run = self._store.read(first, min(last, first + _NAMED_MAX - 1), _NAMED_BYTES_MAX)
            contents = [
                update_bytes(position, run.cut(position, position, 1).data)
                for position in range(first, run.last_position + 1)
            ]
        except (NotInLogError, LogDamagedError, LogSealedError, RecordDamagedError):  # the positions will have to do
            return where
        names = ", ".join(types_pb2.Update.FromString(content).update_id for content in contents)
        return f"{where}: {names}{', …' if run.last_position < last else ''}"
