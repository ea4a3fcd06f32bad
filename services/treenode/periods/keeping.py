"""Which states of closed periods a node keeps, and how it comes by those that it lacks.

1. Of each of the newest periods that are closed for good one state is kept: that of the position just before the record
   that closed it. An older one is removed once there are as many newer ones: while one of those is missing, it stays.
2. It is of the newest import that any node served from at that moment: such a state is *in force*. One that a replay
   passes later, out of another file or in an older tree, is *replayed*: better than none, and given up for one in
   force. A tree of a log that the node does not serve yet passes nothing: what is true there was told to nobody. Of
   two in force, that of the newer import counts; of two that were replayed, that of the older one. So all nodes come
   to keep the same, and it does not change when a corrected file is imported later. Another position is there only
   where an update that would have closed the period was skipped: the later one counts.
3. What is missing is looked for in rounds: first the peers are asked, and what they have is fetched, one after another;
   so is what counts more than a state that is kept here, be that one of an older period. What nobody has is made from a
   snapshot of the node's own from before, and the log. Then the node says that it has it not, and tries again later,
   each time after a longer wait.
4. What is of another log, or damaged, is set aside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.shared.cores import Tick

#: States that are being written at once: each is a process with a copy of what has changed since.
WRITES_MAX = 4
#: After something has changed, others are given so long to have it too, in seconds.
SOON_S = 2.0
#: Waits between two rounds while something is missing, in seconds: each twice as long as the one before.
RETRY_INITIAL_S, RETRY_MAX_S = 5.0, 600.0

NOBODY_HAS_IT = "no node that answers has it"


@dataclass(frozen=True, slots=True)
class Kept:
    """One state of one period."""

    log_id: str
    period: str
    import_id: int
    position: int
    replayed: bool = False

    def is_same_state(self, other: Kept) -> bool:
        """Whether both hold the same, however they came to be."""
        return (self.log_id, self.period, self.import_id, self.position) == (
            other.log_id,
            other.period,
            other.import_id,
            other.position,
        )

    def is_better_than(self, other: Kept) -> bool:
        """By rule 2."""
        if self.position != other.position:
            return self.position > other.position
        if self.replayed != other.replayed:
            return other.replayed
        return self.import_id < other.import_id if self.replayed else self.import_id > other.import_id


@dataclass(frozen=True, slots=True)
class Found:
    """A file is there, at the start."""

    state: Kept


@dataclass(frozen=True, slots=True)
class Stands:
    """The tree that is served: its log, and the periods that are closed for good in it."""

    log_id: str
    sealed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sealing:
    """A tree is just before the record that closes a period.

    Attributes:
        state: What it would be kept as, had no replay passed it.
        is_served: Reports see that tree.
        newest_import: That the pusher has told of.
    """

    state: Kept
    is_served: bool = True
    newest_import: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """The file is whole."""

    state: Kept


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """There is no file of it."""

    state: Kept
    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A peer has a state."""

    peer: str
    state: Kept


@dataclass(frozen=True, slots=True)
class PeersHave:
    """Every peer that answered."""

    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A peer's file is here, whole."""

    state: Kept


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """It is not."""

    offer: Offer
    reason: str


@dataclass(frozen=True, slots=True)
class RebuildEnded:
    """A replay from a snapshot is over; what it passed was told by `Sealing`. `reason`: why it could not be."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that is kept is not what was written."""

    state: Kept
    reason: str


KeepingEvent = (
    Found | Stands | Sealing | Written | WriteFailed | PeersHave | Fetched | FetchFailed | RebuildEnded | Damaged | Tick
)


@dataclass(frozen=True, slots=True)
class Write:
    """Begin to write the state of the tree as it is at this moment."""

    state: Kept


@dataclass(frozen=True, slots=True)
class AskPeers:
    """Ask every peer what it keeps."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch it."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Replay the log from a snapshot of before these were closed."""

    periods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """The file is not wanted any more."""

    state: Kept


@dataclass(frozen=True, slots=True)
class SetAside:
    """The file must not be used any more, yet somebody may want to look at it."""

    state: Kept
    reason: str


KeepingAction = Write | AskPeers | Fetch | Rebuild | Remove | SetAside


class Keeping:
    """What one node keeps."""

    def __init__(self, kept_max: int, check_interval_s: float) -> None:
        """`check_interval_s`: time between two rounds while nothing is missing."""
        self._kept_max = kept_max
        self._check_interval_s = check_interval_s
        self._log_id = ""
        self._sealed: tuple[str, ...] = ()
        #: One for each period; at most `kept_max`.
        self.held: dict[str, Kept] = {}
        #: What is being written, by period.
        self.writing: dict[str, Kept] = {}
        #: Why a period that should be kept is not, once it was looked for in vain; none that is held.
        self.problems: dict[str, str] = {}
        #: A round is under way: what peers offered and was not looked at yet, the best last.
        self._in_round = False
        self._offers: list[Offer] = []
        self._rebuilt = False
        #: What the round found out of those that are missing.
        self._reasons: dict[str, str] = {}
        self._next_round_s: float | None = None
        self._retry_s = RETRY_INITIAL_S

    @property
    def deadline_s(self) -> float | None:
        """When the next round begins."""
        return None if self._in_round else self._next_round_s

    @property
    def wanted(self) -> tuple[str, ...]:
        """Periods that the node should keep, the newest first."""
        return tuple(sorted(self._sealed, reverse=True)[: self._kept_max])

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of them that it neither keeps nor writes."""
        return tuple(each for each in self.wanted if each not in self.held and each not in self.writing)

    def is_coming(self, period: str) -> bool:
        """Whether it is being written, or was not looked for in vain yet."""
        return period in self.writing or (period in self.missing and period not in self.problems)

    def handle(self, event: KeepingEvent, now_s: float) -> list[KeepingAction]:
        """Takes an event in; returns what is to be done."""
        match event:
            case Found(state) | Fetched(state):
                return self._hold(state) + (self._go_on(now_s) if isinstance(event, Fetched) else [])
            case Stands():
                return self._stand(event, now_s)
            case Sealing():
                return self._seal(event, now_s)
            case Written(state):
                self.writing.pop(state.period, None)
                self._look_soon(now_s + SOON_S)
                return self._hold(state)
            case WriteFailed(state, reason):
                self.writing.pop(state.period, None)
                self._reasons[state.period] = reason
                if state.period not in self.held:
                    self.problems[state.period] = reason
                self._look_soon(now_s + RETRY_INITIAL_S)
            case PeersHave(offers):
                self._offers = sorted(offers, key=_worst_first)
                return self._go_on(now_s)
            case FetchFailed(offer, reason):
                self._reasons[offer.state.period] = f"it could not be fetched from {offer.peer}: {reason}"
                return self._go_on(now_s)
            case RebuildEnded(reason):
                for period in self.missing if reason else ():
                    self._reasons.setdefault(period, f"{NOBODY_HAS_IT}, and {reason}")
                return self._go_on(now_s)
            case Damaged(state, reason):
                if self.held.get(state.period) == state:
                    del self.held[state.period]
                    self._look_soon(now_s)
                    return [SetAside(state, reason)]
            case Tick():
                if not self._in_round and self._next_round_s is not None and now_s >= self._next_round_s:
                    self._in_round, self._rebuilt, self._reasons = True, False, {}
                    return [AskPeers()]
        return []

    def _hold(self, state: Kept) -> list[KeepingAction]:
        if self._log_id and state.log_id != self._log_id:
            return [SetAside(state, f"it is of log {state.log_id}, not {self._log_id}")]
        before = self.held.get(state.period)
        if before is not None and not before.is_same_state(state) and not state.is_better_than(before):
            return [Remove(state)]
        self.held[state.period] = state
        self.problems.pop(state.period, None)
        actions: list[KeepingAction] = []
        if before is not None and not before.is_same_state(state):
            actions.append(Remove(before))
        actions += [Remove(self.held.pop(period)) for period in sorted(self.held)[: -self._kept_max]]
        return actions

    def _stand(self, event: Stands, now_s: float) -> list[KeepingAction]:
        if (event.log_id, event.sealed) == (self._log_id, self._sealed) or not event.log_id:
            return []
        actions: list[KeepingAction] = []
        if event.log_id != self._log_id:
            self.problems.clear()
            others = [state for state in self.held.values() if state.log_id != event.log_id]
            reason = f"the node went over to log {event.log_id}"
            actions += [SetAside(self.held.pop(state.period), reason) for state in others]
        self._log_id, self._sealed = event.log_id, event.sealed
        self.problems = {period: why for period, why in self.problems.items() if period in self.missing}
        if self._sealed:
            self._look_soon(now_s if self.missing else now_s + self._check_interval_s)
        return actions

    def _seal(self, event: Sealing, now_s: float) -> list[KeepingAction]:
        if self._log_id and event.state.log_id != self._log_id:
            return []
        in_force = event.is_served and event.state.import_id >= event.newest_import
        return self._write(replace(event.state, replayed=not in_force), now_s)

    def _write(self, state: Kept, now_s: float) -> list[KeepingAction]:
        held = self.held.get(state.period)
        if state.period in self.writing:
            return []
        if held is not None and (held.is_same_state(state) or not state.is_better_than(held)):
            return []
        if len(self.writing) >= WRITES_MAX:
            self._look_soon(now_s + SOON_S)
            return []
        self.writing[state.period] = state
        return [Write(state)]

    def _go_on(self, now_s: float) -> list[KeepingAction]:
        """The next step of a round, or its end."""
        while self._offers:
            offer = self._offers.pop()
            if self._is_useful(offer.state):
                return [Fetch(offer)]
        missing = self.missing
        if missing and not self._rebuilt:
            self._rebuilt = True
            return [Rebuild(missing)]
        self._in_round = False
        self.problems = {period: self._reasons.get(period, NOBODY_HAS_IT) for period in missing}
        self._next_round_s = now_s + (self._retry_s if missing else self._check_interval_s)
        self._retry_s = min(self._retry_s * 2, RETRY_MAX_S) if missing else RETRY_INITIAL_S
        return []

    def _is_useful(self, state: Kept) -> bool:
        if state.log_id != self._log_id or state.period in self.writing:
            return False
        held = self.held.get(state.period)
        if held is None:
            return state.period in self.wanted
        return not held.is_same_state(state) and state.is_better_than(held)

    def _look_soon(self, at_s: float) -> None:
        if self._next_round_s is None or at_s < self._next_round_s:
            self._next_round_s = at_s

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        if len(self.held) > self._kept_max or len(self.writing) > WRITES_MAX:
            raise AssertionError(f"keeps {len(self.held)}, writes {len(self.writing)}")
        if any(period != state.period for period, state in (*self.held.items(), *self.writing.items())):
            raise AssertionError("a state stands under another period than its own")
        if self.problems.keys() & self.held.keys():
            raise AssertionError("what is held is no problem")


def _worst_first(offer: Offer) -> tuple[int, bool, int, str]:
    state = offer.state
    import_id = -state.import_id if state.replayed else state.import_id
    return (state.position, not state.replayed, import_id, offer.peer)
