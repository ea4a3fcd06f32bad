"""Refusals in bounded number: the first ones of each peer one by one, the others counted and summed up.

Time goes by windows. In each, a peer has so many records of its own, and all peers together ten times as many; what is
above is counted for each of a bounded number of peers, and for all others together. Counts become records when the
window ends.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from services.shared.security.audit.records import Entry, Kind

#: Peers that are counted one by one in a window.
PEERS_MAX: Final = 1_000
#: Peers that have a record of their own when it ends: those with the most refusals.
SUMMED_UP_MAX: Final = 100
_ALL_PEERS: Final = 10


class FloodControl:
    """No clock and no disk in it: the time is told.

    Args:
        in_full: Records of one peer in a window.
        window_s: How long one is.
    """

    def __init__(self, in_full: int, window_s: float) -> None:
        self._in_full = in_full
        self._window_s = window_s
        #: All and only what came in this window, by peer.
        self._seen: Counter[str] = Counter()
        self._written = 0
        #: All and only what was not written in full, by peer: at most `PEERS_MAX` of them.
        self._counted: Counter[str] = Counter()
        #: The newest refusal of each of them.
        self._newest: dict[str, Entry] = {}
        self._others = 0
        #: When this window ends; None while there is nothing to sum up.
        self.deadline_s: float | None = None

    def take(self, refusal: Entry, now_s: float) -> list[Entry]:
        """The records to write now."""
        due = self.tick(now_s)
        if self.deadline_s is None:
            self.deadline_s = now_s + self._window_s
        peer = _key(refusal)
        if peer in self._seen or len(self._seen) < PEERS_MAX:
            self._seen[peer] += 1
            if self._seen[peer] <= self._in_full and self._written < self._in_full * _ALL_PEERS:
                self._written += 1
                return [*due, refusal]
            self._counted[peer] += 1
            self._newest[peer] = refusal
        else:
            self._others += 1
        return due

    def tick(self, now_s: float) -> list[Entry]:
        """What was counted, once its window is over."""
        if self.deadline_s is None or now_s < self.deadline_s:
            return []
        return self.flush()

    def flush(self) -> list[Entry]:
        """What was counted, at once."""
        told = self._counted.most_common(SUMMED_UP_MAX)
        entries = [
            self._newest[peer]._replace(kind=Kind.REFUSED_MORE, details={"refusals": count, "window_s": self._window_s})
            for peer, count in told
        ]
        others = self._others + self._counted.total() - sum(count for _, count in told)
        if others:
            reason = "of further peers"
            time_s = max((entry.time_s for entry in entries), default=0.0)
            details = {"refusals": others, "window_s": self._window_s}
            entries.append(Entry(Kind.REFUSED_MORE, time_s, authorized=False, reason=reason, details=details))
        self._seen.clear()
        self._counted.clear()
        self._newest.clear()
        self._written = self._others = 0
        self.deadline_s = None
        return entries


def _key(refusal: Entry) -> str:
    """Whoever that is: by name, else by address. Ports are as many as somebody wants."""
    return refusal.principal or refusal.peer.rpartition(":")[0] or refusal.peer
