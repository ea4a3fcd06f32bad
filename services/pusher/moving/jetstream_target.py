"""A log moved to NATS JetStream: a stream that no pusher may write before all is there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from services.pusher.log.ids.runs import Run as IdRun
from services.pusher.log.jetstream.contents import entries_bytes
from services.pusher.log.jetstream.messages import Draft, Kind, Moved, Word
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogEnds
from services.pusher.moving.target import CopyTarget, Small

#: In one message.
_IDS_AT_ONCE: Final = 10_000


class JetstreamTarget(CopyTarget):
    """The copy.

    Args:
        folder: Its own; nothing that is kept in it is needed again.
    """

    def __init__(self, folder: Path, settings: LogSettings, cluster: str) -> None:
        self._stream = JetstreamLog(folder, settings, cluster)
        super().__init__(self._stream)
        self.place = self._stream.place

    def keep(self, name: str, value: str) -> None:
        self._stream.write([Draft(Kind.WORD, body=msgspec.json.encode(Word(name, value)))])

    def kept(self, name: str) -> str:
        return self._stream.word(name)

    def begin_at(self, first_position: int) -> None:
        self._stream.write([Draft(Kind.TRIM, first_position)])

    def add_ids(self, path: Path) -> int:
        run = IdRun(path)
        if not self.kept(f"copied_{path.name}"):
            for first in range(0, run.count, _IDS_AT_ONCE):
                entries = run.read(first, min(first + _IDS_AT_ONCE, run.count))
                self._stream.write([Draft(Kind.IDS, body=entries_bytes(entries))])
            self.keep(f"copied_{path.name}", "whole")
        return run.count

    def _become(self, log_id: str, small: Small, ends: LogEnds, epoch: int, holder: str) -> None:
        drafts = [Draft(Kind.RULE, position, body=content) for position, content, _ in small.rules]
        drafts += [Draft(Kind.IMPORT, number, int(bool(taken)), body=status) for number, taken, status in small.imports]
        drafts.append(Draft(Kind.TRIM, ends.first))
        moved = Moved(
            log_id,
            [(str(replaced), str(reason)) for _, replaced, reason in small.replaced_logs],
            float(small.running_s),
            [(int(position), float(stored_at)) for position, stored_at in small.time_marks],
            epoch,
            holder,
        )
        drafts.append(Draft(Kind.MOVED, body=msgspec.json.encode(moved)))
        # Behind it: what the copying kept is forgotten with it.
        self._stream.write([*drafts, Draft(Kind.WORD, body=msgspec.json.encode(Word("copy_id", self.copy_id)))])
