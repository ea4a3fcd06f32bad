"""A node's own view of its lease: whether it may call itself primary.

The rules:

1. The lease runs from when *this node sent* the heartbeat that the coordinator answers, by this node's own monotonic
   clock. The coordinator counts from when it *received* that heartbeat, which is later; so the node's lease is over
   first, whatever the two wall clocks say.
2. The node ends its lease `lease_margin_s` before that: time to tell the VIP's health checks and to end streams, and
   room for clocks that run at slightly different speeds. At that time it demotes itself, without asking anyone.
3. Epochs never go back. An answer of a lower epoch comes from a coordinator that lost its memory, or was overtaken:
   nothing of it is believed.
4. An answer to a heartbeat that the node does not remember can't be dated. It may take the role away, never give it.
5. Answers are taken in the order of the heartbeats; a late answer to an earlier one changes nothing. Several answers
   to the same heartbeat (the coordinator speaks unasked when a role changes) are taken in the order they arrive.
   After it stepped down, a node takes no grant of that epoch that answers a heartbeat from before: the coordinator
   may have sent it before it heard of the step, and given the role to another since.
6. Only a ready node is primary. One that is told PRIMARY while it is not ready stays passive and says so in its next
   heartbeat; one that stops being ready demotes itself at once.
7. Each change of role is told to the coordinator at once (`HeartbeatNow`), not at the next beat: a switchover waits
   for it. So is each answer that came unasked: the coordinator wants to know where the node stands now.
8. What a heartbeat says may be older than the heartbeat: it leaves in time though the node is busy. One that says
   where the node stood before it stepped down counts, for rule 5, as one from before.
9. While the active coordinator does not answer, any coordinator may vouch for a primary: nobody can have been elected
   in its place (coordinator/election/vouching.py). Its lease then goes on from when it *asked*, less the margin. That
   only prolongs: a node that is not primary in that epoch, or was not all the time since it asked, takes nothing of it.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from services.shared.cores import Tick
from services.treenode.node.settings import RoleSettings

#: Heartbeats remembered while unanswered; older ones can't give a lease any more.
HEARTBEATS_REMEMBERED = 64


@dataclass(frozen=True)
class HeartbeatSent:
    """A heartbeat is about to leave; must come before it does, or the lease would seem longer than it is."""

    sequence: int
    #: When it leaves, and when the node stood as it says, on the node's clock; None: at this moment.
    sent_at_s: float | None = None
    stood_at_s: float | None = None


@dataclass(frozen=True)
class OthersReady:
    """How far the ready nodes beside this one are, in its log: the newest import and the furthest position of any."""

    #: Whether the coordinator has had time to hear of every node.
    complete: bool
    import_id: int
    position: int


@dataclass(frozen=True)
class LeaseAnswered:
    """The coordinator's answer to a heartbeat."""

    sequence: int
    primary: bool
    epoch: int
    lease_s: float
    #: Not the role's business: see lifecycle.py, rule 3. None: the coordinator says nothing of it.
    others_ready: OthersReady | None = None


@dataclass(frozen=True)
class Vouched:
    """A coordinator says that nobody else can be primary for so long after the node asked, on the node's clock."""

    epoch: int
    asked_at_s: float
    lease_s: float


@dataclass(frozen=True)
class ReadyChanged:
    """Whether the node is ready to serve reports."""

    ready: bool


@dataclass(frozen=True)
class Promoted:
    """The node is primary from now on, until `Demoted`."""

    epoch: int


@dataclass(frozen=True)
class Demoted:
    """The node is not primary any more."""

    reason: str


@dataclass(frozen=True)
class HeartbeatNow:
    """Tell the coordinator at once."""


@dataclass(frozen=True)
class AnswerRefused:
    """An answer that was not believed: for the log."""

    reason: str


RoleEvent = HeartbeatSent | LeaseAnswered | Vouched | ReadyChanged | Tick
RoleAction = Promoted | Demoted | HeartbeatNow | AnswerRefused


class RoleCore:
    """Holds the lease. No clock inside: `now_s` is seconds of the node's monotonic clock."""

    def __init__(self, settings: RoleSettings) -> None:
        self._margin_s = settings.lease_margin_s
        #: When each unanswered heartbeat was sent; sequences rise.
        self._sent_at_s: OrderedDict[int, float] = OrderedDict()
        #: The newest heartbeat that was answered; never falls.
        self._answered_sequence = 0
        #: Where it stepped down in the current epoch: the first heartbeat whose answer may give the role back.
        self._grants_from_sequence = 0
        #: When that was.
        self._stepped_down_at_s = -math.inf
        #: The highest epoch heard; never falls.
        self.epoch = 0
        #: Set while primary, and only then: when the node demotes itself.
        self.lease_until_s: float | None = None
        #: Whether the node serves reports.
        self.ready = False
        self._now_s = -math.inf

    @property
    def deadline_s(self) -> float | None:
        """When the lease is over; None while the node holds none."""
        return self.lease_until_s

    @property
    def primary_epoch(self) -> int:
        """The epoch in which the node is primary; 0 while it is not. Only true right after an event."""
        return self.epoch if self.lease_until_s is not None else 0

    def lease_left_s(self, now_s: float) -> float:
        """What is left of the lease; 0 while the node holds none."""
        return 0.0 if self.lease_until_s is None else max(0.0, self.lease_until_s - now_s)

    def is_primary(self, now_s: float) -> bool:
        """Whether the node may call itself primary at this very moment, even if `Tick` comes late."""
        return self.lease_until_s is not None and now_s < self.lease_until_s

    def handle(self, event: RoleEvent, now_s: float) -> list[RoleAction]:
        """Takes the event and returns what is to be done, in order."""
        actions = self._end_lease_in_time(now_s)
        match event:
            case Tick():
                pass
            case HeartbeatSent():
                self._note_sent(event, now_s)
            case ReadyChanged():
                self.ready = event.ready
                if not event.ready:
                    actions += self._demote("the node is not ready")
            case LeaseAnswered():
                actions += self._take_answer(event, now_s)
            case Vouched():
                self._prolong(event)
        return actions

    def _end_lease_in_time(self, now_s: float) -> list[RoleAction]:
        if now_s < self._now_s:
            raise ValueError(f"role: the clock went back from {self._now_s} to {now_s}; pass a monotonic one")
        self._now_s = now_s
        if self.lease_until_s is not None and now_s >= self.lease_until_s:
            return self._demote(f"no answer of the coordinator in time; the lease of epoch {self.epoch} is over")
        return []

    def _note_sent(self, sent: HeartbeatSent, now_s: float) -> None:
        sequence, newest = sent.sequence, next(reversed(self._sent_at_s), self._answered_sequence)
        if sequence <= newest:
            raise ValueError(f"role: heartbeat {sequence} after {newest}; sequences must rise")
        self._sent_at_s[sequence] = now_s if sent.sent_at_s is None else min(now_s, sent.sent_at_s)
        if sent.stood_at_s is not None and sent.stood_at_s <= self._stepped_down_at_s:
            self._grants_from_sequence = sequence + 1
        if len(self._sent_at_s) > HEARTBEATS_REMEMBERED:
            self._sent_at_s.popitem(last=False)

    def _take_answer(self, answer: LeaseAnswered, now_s: float) -> list[RoleAction]:
        if answer.epoch < self.epoch:
            text = f"an answer of epoch {answer.epoch} after epoch {self.epoch}: a coordinator without its memory?"
            return [AnswerRefused(text)]
        if answer.sequence < self._answered_sequence:
            return []
        unasked = answer.sequence == self._answered_sequence
        if not answer.primary:
            if answer.sequence in self._sent_at_s:
                self._note_answered(answer.sequence)
            self.epoch = answer.epoch
            demotion = self._demote(f"passive by the coordinator's word in epoch {answer.epoch}")
            return demotion or ([HeartbeatNow()] if unasked else [])
        if answer.epoch == self.epoch and answer.sequence < self._grants_from_sequence:
            return [AnswerRefused(f"a grant of epoch {answer.epoch} from before this node stepped down in it")]
        sent_at_s = self._sent_at_s.get(answer.sequence)
        if sent_at_s is None:
            return [AnswerRefused(f"a lease for heartbeat {answer.sequence}, which this node did not send lately")]
        self._note_answered(answer.sequence)
        new_term = answer.epoch > self.epoch
        self.epoch = answer.epoch
        lease_until_s = sent_at_s + answer.lease_s - self._margin_s
        if not self.ready:
            return [AnswerRefused("made primary while not ready")]
        if not now_s < lease_until_s:  # also refuses a lease of NaN
            return [AnswerRefused("a lease that was over when it came")]
        was_primary = self.lease_until_s is not None
        self.lease_until_s = lease_until_s
        if was_primary and not new_term:
            return [HeartbeatNow()] if unasked else []
        return [Promoted(self.epoch), HeartbeatNow()]

    def _prolong(self, vouched: Vouched) -> None:
        """Rule 9."""
        if self.lease_until_s is None or vouched.epoch != self.epoch or vouched.asked_at_s <= self._stepped_down_at_s:
            return
        self.lease_until_s = max(self.lease_until_s, vouched.asked_at_s + vouched.lease_s - self._margin_s)

    def _note_answered(self, sequence: int) -> None:
        # The answered heartbeat itself is kept: the coordinator may answer it again when a role changes (rule 5).
        self._answered_sequence = sequence
        while next(iter(self._sent_at_s)) < sequence:
            self._sent_at_s.popitem(last=False)

    def _demote(self, reason: str) -> list[RoleAction]:
        if self.lease_until_s is None:
            return []
        self.lease_until_s = None
        self._stepped_down_at_s = self._now_s
        self._grants_from_sequence = next(reversed(self._sent_at_s), self._answered_sequence) + 1
        return [Demoted(reason), HeartbeatNow()]

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        if self.lease_until_s is not None and not (self.ready and self.epoch >= 0):
            raise AssertionError("a lease is held by a node that is not ready")
        if self.lease_until_s is not None and self._now_s >= self.lease_until_s:
            raise AssertionError("a lease is held past its end")
        sequences = list(self._sent_at_s)
        if sequences and (sequences[0] < self._answered_sequence or sequences != sorted(sequences)):
            raise AssertionError(f"heartbeats out of order: {sequences} after {self._answered_sequence}")
        if len(sequences) > HEARTBEATS_REMEMBERED:
            raise AssertionError("more heartbeats are remembered than allowed")
