"""One planned switchover: what it waits for, phase by phase. The election core drives it and owns the seat.

| phase | what holds | ends when |
|---|---|---|
| CATCHING_UP | the old primary serves | the target is where the primary was a moment ago, and the store took a write |
| LEAVING | the old primary was told PASSIVE, its lease is not renewed | it confirms, or its lease ends |
| CLOSING | there is no primary; the old one's last known position is the floor | the target has reached the floor |
| OVERTAKEN | the primary failed before it was told; the ordinary rules elect | somebody was elected |

So a switchover does not step back: the new primary starts at or after the last position that the old one served as
primary, where that one confirmed that it stepped down. Where it was cut off before it could, the seat is empty once its
lease has ended, and the floor is its last heartbeat: what it applied and served after that, for the rest of its lease,
nobody else can know; a client that must not see less asks with `min_position`. The first phase only sees to it that the
third one is short: under a steady flow of updates the target is always a little behind. In every phase the VIP has
ready nodes to fall back to.

A coordinator that can't write (its disk is full, say) could only take the role away: so what is recorded already is
written anew before the old primary is told. The new primary's epoch can't be written by then: a coordinator that starts
again in between would wait for a holder whom nobody has told, while the old primary holds its grant.
"""

from dataclasses import dataclass, field
from enum import Enum

from services.coordinator.election.events import SwitchoverDone, SwitchoverFailed, SwitchoverProblem
from services.coordinator.election.leases import NodeLease
from services.coordinator.election.settings import ElectionSettings


class Phase(Enum):
    """Where a switchover is."""

    CATCHING_UP = "catching up"
    LEAVING = "leaving"
    CLOSING = "closing"
    OVERTAKEN = "overtaken"


class Step(Enum):
    """What is to be done next."""

    WAIT = "nothing"
    WRITE = "what is recorded is written anew, to see that the coordinator can"
    ASK = "the nodes that it waits for are asked for a heartbeat at once"
    TELL = "the old primary is told to stop"


@dataclass(frozen=True)
class GivenUp:
    """The switchover is over without a new primary."""

    problem: SwitchoverProblem
    why: str


@dataclass
class Handover:
    """A switchover under way."""

    #: The operator's request, answered exactly once.
    request: int
    #: Who is to be primary, and who was when the operator asked.
    target: str
    from_node: str
    asked_at: float
    #: CATCHING_UP ends then without a switchover.
    deadline_at: float
    phase: Phase = Phase.CATCHING_UP
    #: When both nodes are next asked for a heartbeat at once.
    probe_at: float = float("-inf")
    #: When the primary was heard since the operator asked, and where it stood then: oldest first.
    marks: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    #: Something was written since the operator asked.
    can_write: bool = False
    #: When the old primary was told; None before LEAVING.
    demoted_at: float | None = None
    #: Where the old primary stood by its last heartbeat when it was gone: (import, position). Set in CLOSING.
    floor: tuple[int, int] = (0, 0)
    #: CLOSING ends then, and the ordinary rules elect.
    closing_until: float = float("inf")

    @property
    def holds_seat(self) -> bool:
        """Whether the seat is being emptied, or kept free, for the target."""
        return self.phase in (Phase.LEAVING, Phase.CLOSING)

    def step(
        self,
        primary: NodeLease | None,
        target: NodeLease | None,
        settings: ElectionSettings,
        now_s: float,
        *,
        may_tell: bool,
        vacant: bool,
    ) -> Step | GivenUp:
        """The next step.

        Args:
            primary, target: The process in the seat, and the node that is to be; None where there is none.
            may_tell: The primary has said that it is primary: what it says after it was told will be believed.
            vacant: Nobody holds the seat, and nobody is being elected.
        """
        if self.phase in (Phase.LEAVING, Phase.OVERTAKEN):
            return Step.WAIT
        if target is None or not target.is_ready(now_s):
            return GivenUp(SwitchoverProblem.NOT_POSSIBLE, "it is not ready any more")
        if self.phase is Phase.CLOSING:
            return self._close(target, settings, now_s, vacant=vacant)
        if now_s >= self.deadline_at:
            why = f"it has not caught up within {settings.switchover_timeout_s:g} s; {self.from_node} stays"
            return GivenUp(SwitchoverProblem.TOO_LATE, why)
        if primary is None:
            return Step.WAIT
        self.mark(primary.heard_at, primary.standing, settings.closing_s / 4)
        if may_tell and self.has_caught_up(target.heard_at, target.standing):
            return Step.TELL if self.can_write else Step.WRITE
        return self._ask(settings, now_s)

    def _close(self, target: NodeLease, settings: ElectionSettings, now_s: float, *, vacant: bool) -> Step | GivenUp:
        if self.is_reached_by(target, now_s):
            return Step.WAIT
        if now_s < self.closing_until or not vacant:
            return self._ask(settings, now_s)
        import_id, position = self.floor
        why = f"it has not reached position {position} of import {import_id} in {settings.closing_s:g} s"
        return GivenUp(SwitchoverProblem.TOO_LATE, why)

    def _ask(self, settings: ElectionSettings, now_s: float) -> Step:
        if now_s < self.probe_at:
            return Step.WAIT
        self.probe_at = now_s + settings.probe_interval_s
        return Step.ASK

    def is_reached_by(self, target: NodeLease, now_s: float) -> bool:
        """Whether the target may be elected: it is ready, and stands where the old primary stood."""
        return target.is_ready(now_s) and target.standing >= self.floor

    def mark(self, heard_at: float, standing: tuple[int, int], keep_s: float) -> None:
        """The primary stood there then; marks older than `keep_s` before that are dropped."""
        if heard_at > self.asked_at and (not self.marks or heard_at > self.marks[-1][0]):
            self.marks = [mark for mark in self.marks if mark[0] > heard_at - keep_s]
            self.marks.append((heard_at, standing))

    def has_caught_up(self, heard_at: float, standing: tuple[int, int]) -> bool:
        """Whether the target, heard then and standing there, is where the primary was at one of the marks."""
        return heard_at > self.asked_at and bool(self.marks) and standing >= self.marks[0][1]

    def leave(self, now_s: float) -> None:
        """The old primary was told to stop."""
        self.phase = Phase.LEAVING
        self.demoted_at = now_s

    def close(self, floor: tuple[int, int], until: float) -> None:
        """The old primary is gone; `floor` is where it stood."""
        self.phase = Phase.CLOSING
        self.floor = floor
        self.closing_until = until
        self.probe_at = float("-inf")

    def done(self, epoch: int, now_s: float) -> SwitchoverDone:
        """The target was elected."""
        began_at = self.asked_at if self.demoted_at is None else self.demoted_at
        return SwitchoverDone(
            request=self.request, from_node=self.from_node, to_node=self.target, epoch=epoch, took_s=now_s - began_at
        )

    def failed(self, problem: SwitchoverProblem, why: str) -> SwitchoverFailed:
        """It was given up."""
        return SwitchoverFailed(request=self.request, problem=problem, message=f"no switchover to {self.target}: {why}")

    def note(self) -> str:
        """What it waits for, in one line."""
        return {
            Phase.CATCHING_UP: f"switchover to {self.target}: waits until it has caught up with {self.from_node}",
            Phase.LEAVING: f"switchover to {self.target}: waits until {self.from_node} has stepped down",
            Phase.CLOSING: f"switchover to {self.target}: waits until it has {self.from_node}'s last update",
            Phase.OVERTAKEN: f"switchover to {self.target}: {self.from_node} failed first, an election is under way",
        }[self.phase]


def refusal(
    to_node: str,
    *,
    is_known: bool,
    is_ready: bool,
    is_electable: bool,
    is_paused: bool,
    has_primary: bool,
    under_way: str,
) -> tuple[SwitchoverProblem, str]:
    """Why a switchover can't begin, with the way out; an empty text where it can.

    Args:
        to_node: Whom the operator asked for; empty: any node.
        is_known, is_ready: The node that would become primary.
        is_electable: The same node: whether the host file has it.
        is_paused: Elections are, or are about to be.
        has_primary: There is one, and it is not stepping down.
        under_way: The target of another switchover; empty: there is none.
    """
    message = ""
    if to_node and not is_known:
        return SwitchoverProblem.NO_SUCH_NODE, f"no node {to_node}: `fasttree status` lists them"
    if is_paused:
        message = "elections are paused: resume them first"
    elif under_way:
        message = f"a switchover to {under_way} is under way: wait for it"
    elif not has_primary:
        message = "there is no primary to take over from now: try again when `fasttree status` shows one"
    elif not is_ready:
        message = f"{to_node} is not ready" if to_node else "no other node is ready"
        message += ": see `fasttree status`"
    elif not is_electable:
        message = f"{to_node} is not in the host file, so the VIP does not know it: add its line first"
    return SwitchoverProblem.NOT_POSSIBLE, message
