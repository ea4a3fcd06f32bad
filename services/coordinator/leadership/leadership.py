"""Whether this coordinator is the active one. No I/O, no clock: what was read and written in, reads and writes out.

Rules:
1. **The lease is one object with versions.** Whoever writes it names the version that it goes by, and the API server,
   or etcd, refuses every other one. So of two that take it, one does.
2. **The holder may act** until `active_lease_s` less the margin after it *sent* its newest renewal that came to pass.
   What was sent and not answered counts for nothing.
3. **Another may take it** once the version that it sees has been the same for a whole lease, by its own clock, counted
   from when it had read it; the longest lease counts, its own or the one that the holder wrote down. What was read
   cannot have been written later, so the holder has stopped by then (rule 2), whatever was slow or lost in between;
   and if the holder did renew meanwhile, the version is another one and the write is refused (rule 1). No clock has to
   agree with another, only to run as fast, and for that is the margin.
4. A lease that was given up may be taken at once: who gives it up acts no more. So may one that is this process's own
   by name: it lost it to nobody. One that is not there may be gone from under somebody, and has no version that a late
   write could be told by: it is made as nobody's, and then rule 3 holds, for whoever made it as for the others.
5. **One that can't renew steps down by itself** when its right is over, and then says so before it takes anything else
   in. It begins anew as any other, with whatever is recorded by then.
6. One read or write at a time; what came of it is told, each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.coordinator.leadership.settings import RETRY_S, LeadershipSettings
from services.shared.cores import Tick

#: Whose a lease is that was made because there was none.
MADE = "nobody-yet"


@dataclass(frozen=True, slots=True)
class Seen:
    """The lease was read. Version "": it is not there."""

    version: str
    #: Who has it; empty: nobody.
    holder: str = ""
    #: As its holder wrote it down, in seconds.
    lease_s: float = 0.0
    #: host:port at which the holder is reached; empty where it says none.
    address: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """It is this process's now, or again."""

    version: str
    #: When the write was sent, by this process's clock.
    sent_at_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """It had changed: nothing was written."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be read, or it is not known whether it was written."""

    reason: str


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The active part found that another one writes, or that it can't go on."""

    reason: str


LeadershipEvent = Seen | Written | Refused | Failed | Overtaken | Tick


@dataclass(frozen=True, slots=True)
class Read:
    """Read the lease; then `Seen` or `Failed`."""


@dataclass(frozen=True, slots=True)
class Make:
    """Make the lease, as `MADE`'s; then `Seen`, `Refused` or `Failed`."""


@dataclass(frozen=True, slots=True)
class Acquire:
    """Take the lease if it still has this version; then `Written`, `Refused` or `Failed`."""

    version: str


@dataclass(frozen=True, slots=True)
class Renew:
    """Write the lease anew, as its holder; then `Written`, `Refused` or `Failed`."""


@dataclass(frozen=True, slots=True)
class BecomeActive:
    """Begin to act, from what is recorded by now."""


@dataclass(frozen=True, slots=True)
class StepDown:
    """Act no more."""

    reason: str


LeadershipAction = Read | Make | Acquire | Renew | BecomeActive | StepDown


class State(Enum):
    """What this coordinator is."""

    STANDBY = "standby"
    ACTIVE = "active"


class LeadershipBrokenError(AssertionError):
    """The core broke one of its own rules."""


class Leadership:
    """One coordinator among several."""

    def __init__(self, settings: LeadershipSettings, identity: str, now_s: float) -> None:
        """`identity`: this process's own, of no other one at any time."""
        self._settings = settings
        self._identity = identity
        self.state = State.STANDBY
        #: Who has the lease, as it was read last; empty: nobody, or nothing was read yet.
        self.holder = ""
        #: host:port of the holder where it is another one; empty where that is not known.
        self.holder_address = ""
        #: Why the lease can't be read or written now; empty where it can.
        self.problem = "the lease has not been read yet"
        #: Counts the times that it became active.
        self.term = 0
        #: The version that was read last, and since when it has been that; None before the first.
        self._version: str | None = None
        self._version_since_s = now_s
        self._holder_lease_s = 0.0
        #: Until then it may act (rule 2).
        self._right_until_s = now_s
        #: A read or write is under way (rule 6).
        self._busy = False
        self._next_at_s = now_s

    def may_act(self, now_s: float) -> bool:
        """Whether nobody else can be active now. To be asked before each act: timers come late."""
        return self.state is State.ACTIVE and now_s < self._right_until_s

    @property
    def deadline_s(self) -> float | None:
        """When its right is over, or something is to be read or written."""
        times = [] if self._busy else [self._next_at_s]
        if self.state is State.ACTIVE:
            times.append(self._right_until_s)
        return min(times, default=None)

    def handle(self, event: LeadershipEvent, now_s: float) -> list[LeadershipAction]:
        """Takes an event in; returns what to do, in this order."""
        actions: list[LeadershipAction] = []
        if self.state is State.ACTIVE and now_s >= self._right_until_s:
            why = f": {self.problem}" if self.problem else ""
            self._step_down(f"the lease could not be renewed in time{why}", now_s, actions)
        match event:
            case Seen():
                self._busy, self.problem = False, ""
                self._see(event, now_s, actions)
            case Written():
                self._busy, self.problem = False, ""
                self._hold(event, now_s, actions)
            case Refused():
                self._busy, self._next_at_s = False, now_s
                actions.append(self._begin(Read()))
            case Failed():
                self._busy, self.problem = False, event.reason
                self._next_at_s = now_s + RETRY_S
            case Overtaken():
                if self.state is State.ACTIVE:
                    self._step_down(event.reason, now_s, actions)
            case Tick():
                pass
        if not self._busy and now_s >= self._next_at_s:
            # A write that failed may have come to pass: an active one goes on writing, any other looks first.
            actions.append(self._begin(Renew() if self.state is State.ACTIVE else Read()))
        return actions

    def _begin(self, work: Read | Make | Acquire | Renew) -> Read | Make | Acquire | Renew:
        self._busy = True
        return work

    def _note(self, version: str, holder: str, lease_s: float, now_s: float) -> None:
        if version != self._version:
            self._version, self._version_since_s = version, now_s
        self.holder = holder
        self._holder_lease_s = max(lease_s, self._holder_lease_s if holder == MADE else 0.0)

    def _see(self, seen: Seen, now_s: float, actions: list[LeadershipAction]) -> None:
        if seen.version:
            self._note(seen.version, seen.holder, seen.lease_s, now_s)
            self.holder_address = seen.address if seen.holder != self._identity else ""
        own = seen.holder == self._identity
        if self.state is State.ACTIVE:
            if own:
                actions.append(self._begin(Renew()))
                return
            self._step_down(f"{seen.holder or 'nobody'} has the lease", now_s, actions)
        if not seen.version:
            actions.append(self._begin(Make()))
            return
        free_at_s = self._version_since_s + max(self._settings.active_lease_s, self._holder_lease_s)
        if own or not seen.holder or now_s >= free_at_s:
            actions.append(self._begin(Acquire(seen.version)))
        else:
            self._next_at_s = min(now_s + self._look_again_s(now_s), free_at_s)

    def unchanged_s(self, at_s: float) -> float:
        """For how long the lease that was read last had been the same at that time, as far as this one saw."""
        return max(0.0, at_s - self._version_since_s)

    def _look_again_s(self, now_s: float) -> float:
        """One that should have been renewed by now is looked at more often."""
        renew_s = self._settings.active_renew_s
        return renew_s if self.unchanged_s(now_s) < renew_s else renew_s / 4

    def _hold(self, written: Written, now_s: float, actions: list[LeadershipAction]) -> None:
        settings = self._settings
        self._note(written.version, self._identity, settings.active_lease_s, now_s)
        self.holder_address = ""
        right_until_s = written.sent_at_s + settings.active_lease_s - settings.active_margin_s
        self._next_at_s = max(now_s, written.sent_at_s + settings.active_renew_s)
        if self.state is State.ACTIVE:
            self._right_until_s = max(self._right_until_s, right_until_s)
        elif now_s < right_until_s:
            self.state, self._right_until_s = State.ACTIVE, right_until_s
            self.term += 1
            actions.append(BecomeActive())
        else:
            self._next_at_s = now_s + RETRY_S

    def _step_down(self, reason: str, now_s: float, actions: list[LeadershipAction]) -> None:
        self.state = State.STANDBY
        self._next_at_s = now_s + RETRY_S
        actions.append(StepDown(reason))

    def validate(self) -> None:
        """Raises LeadershipBrokenError where a rule is broken."""
        if self.state is State.ACTIVE and self.holder != self._identity:
            raise LeadershipBrokenError(f"active, and the lease is {self.holder}'s")
        if self.may_act(self._version_since_s + self._settings.active_lease_s):
            raise LeadershipBrokenError("a right that outlives its lease")
