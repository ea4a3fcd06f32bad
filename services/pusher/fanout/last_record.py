"""Whether a node's past is the log's own: a log from an older backup has other updates at positions the nodes have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from services.pusher.log.store import LogEnds

Checksum = TypeVar("Checksum")


@dataclass(frozen=True, slots=True)
class LastRecord(Generic[Checksum]):
    """The newest record that a node knows to have. Positions count in the node's log; 0: none is known."""

    log_id: str
    position: int
    checksum: Checksum

    def is_in(self, log_id: str, ends: LogEnds) -> bool:
        """Whether that log has a record at the position, to be compared with this one."""
        return self.log_id == log_id and ends.first <= self.position <= ends.last

    def differs_at(self, own: Checksum | None) -> int:
        """The position, where the log's `own` record there is another one; else 0. None: it can't be read."""
        return 0 if own is None or own == self.checksum else self.position
