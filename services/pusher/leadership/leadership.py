"""Whether this pusher, of several, is the active one. No I/O, no clock: the coordinator's word and claims in and out.

Rules:
1. **It takes pushes only behind a claim**: the coordinator said that it is active in an epoch, and the log's store has
   taken its claim under that epoch. The claim is durable, reads all that others have stored, and from then on no other
   process can write; so no write hangs on what this process believes.
2. **Active in one epoch at a time, the newest that it has heard of.** An answer of an older epoch is late, and nothing.
   Where a newer epoch is another one's, it steps down at once; where it is this one's again, it claims anew first.
3. **A store that says that another one has claimed** ends its turn, whatever the coordinator says: it is deposed, and
   tells the epoch that it found, so that the next election is above it.
4. The coordinator's silence changes nothing: the active one goes on, since the log is what keeps others out.
5. Who stepped down begins anew from what the log has. A claim that failed for another reason than another's claim is
   tried again, for as long as the epoch is its own; meanwhile it says that it is not fit.
6. One claim at a time; the parts that serve follow each other in the order in which this says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.shared.cores import Tick

#: A claim that failed is tried again after this, in seconds.
CLAIM_AGAIN_S = 0.5


class Turn(Enum):
    """What this pusher is."""

    STANDBY = "standby"
    CLAIMING = "claiming"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Told:
    """The coordinator's answer: whether this process is the active one of that epoch, and who is."""

    active: bool
    epoch: int
    active_name: str = ""
    active_address: str = ""
    #: Why the coordinator makes this process not active; empty where it may.
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The log is this process's under that epoch: durable, and read to its end."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """Another one has claimed it: that epoch is in force. Nothing was changed."""

    epoch: int
    in_force: int


@dataclass(frozen=True, slots=True)
class ClaimFailed:
    """The claim may or may not be in force; one line."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Deposed:
    """The store refused a write: that epoch is in force."""

    in_force: int
    reason: str


TurnEvent = Told | Claimed | ClaimRefused | ClaimFailed | Deposed | Tick


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the log under this epoch; then `Claimed`, `ClaimRefused` or `ClaimFailed`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class BecomeActive:
    """Take pushes, from what the log has."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StepDown:
    """Take nothing more; stand by."""

    reason: str


@dataclass(frozen=True, slots=True)
class Say:
    """Send a heartbeat now: what this process is has changed."""


TurnAction = Claim | BecomeActive | StepDown | Say


class TurnBrokenError(AssertionError):
    """The core broke one of its own rules."""


class PusherTurn:
    """One pusher among several."""

    def __init__(self, now_s: float) -> None:
        self.turn = Turn.STANDBY
        #: The epoch in which it is active, or that it claims; 0 while it stands by.
        self.epoch = 0
        #: The highest epoch that it has heard of, or that was found in the log.
        self.known_epoch = 0
        #: Who is active, as the coordinator said last: name and host:port.
        self.active = ("", "")
        #: Why the coordinator would not make it active, as it said last; empty where it would.
        self.unfit = ""
        #: Why its claim failed; empty where none did.
        self.problem = ""
        #: A claim is under way.
        self._claiming = False
        self._claim_at_s: float | None = None
        self._now_s = now_s

    @property
    def deadline_s(self) -> float | None:
        """When a claim is to be tried again; the one that is under way is waited for."""
        return None if self._claiming else self._claim_at_s

    def handle(self, event: TurnEvent, now_s: float) -> list[TurnAction]:
        """Takes an event in; returns what to do, in this order."""
        self._now_s = now_s
        actions: list[TurnAction] = []
        match event:
            case Told():
                self._told(event, actions)
            case Claimed():
                self._claimed(event, actions)
            case ClaimRefused():
                self._claiming = False
                self._lost_to(event.in_force)
                if event.epoch == self.epoch:
                    self._stand_by(actions)
            case ClaimFailed():
                self._claiming = False
                if event.epoch == self.epoch:
                    self.problem = event.reason
                    self._claim_at_s = now_s + CLAIM_AGAIN_S
                    actions.append(Say())
            case Deposed():
                self._lost_to(event.in_force)
                if self.turn is Turn.ACTIVE and event.in_force >= self.epoch:
                    actions.append(StepDown(event.reason))
                    self._stand_by(actions)
            case Tick():
                pass
        due = self._claim_at_s is not None and now_s >= self._claim_at_s
        if self.turn is Turn.CLAIMING and not self._claiming and due:
            self._claiming, self._claim_at_s = True, None
            actions.append(Claim(self.epoch))
        return actions

    def _told(self, told: Told, actions: list[TurnAction]) -> None:
        if told.epoch < self.known_epoch or (told.epoch == 0 and not told.active):
            return  # late, or of a coordinator that knows less than the log does (rule 2)
        self.known_epoch = told.epoch
        self.active, self.unfit = (told.active_name, told.active_address), told.unfit
        if told.active and told.epoch != self.epoch:
            if self.turn is Turn.ACTIVE:
                actions.append(StepDown(f"epoch {told.epoch} begins"))
            self.turn, self.epoch, self.problem = Turn.CLAIMING, told.epoch, ""
            self._claim_at_s = self._now_s
        elif not told.active and self.turn is not Turn.STANDBY:
            if self.turn is Turn.ACTIVE:
                actions.append(StepDown(f"{told.active_name} is active in epoch {told.epoch}"))
            self._stand_by(actions)

    def _lost_to(self, epoch: int) -> None:
        """Another one has claimed the log; who, the coordinator will say."""
        if epoch > self.known_epoch:
            self.known_epoch, self.active = epoch, ("", "")

    def _claimed(self, claimed: Claimed, actions: list[TurnAction]) -> None:
        self._claiming = False
        if self.turn is Turn.CLAIMING and claimed.epoch == self.epoch:
            self.turn, self.problem, self._claim_at_s = Turn.ACTIVE, "", None
            actions += [BecomeActive(self.epoch), Say()]

    def _stand_by(self, actions: list[TurnAction]) -> None:
        self.turn, self.epoch, self.problem, self._claim_at_s = Turn.STANDBY, 0, "", None
        actions.append(Say())

    def validate(self) -> None:
        """Raises TurnBrokenError where a rule is broken."""
        if (self.turn is Turn.STANDBY) != (self.epoch == 0):
            raise TurnBrokenError(f"{self.turn.value} in epoch {self.epoch}")
        if self.epoch > self.known_epoch:
            raise TurnBrokenError(f"epoch {self.epoch} above {self.known_epoch}, the highest that it has heard of")
