"""Who is primary: the election core. No I/O, no clock: events and the time in, actions out.

Rules (the seat's states and moves: seat.py; leases: leases.py; numbers and writes: ledger.py; a planned switchover:
handover.py):
1. **Epochs.** Each election has a number of its own, higher than any that this core, its store or any heartbeat has
   known. It is durable before it is told: the winner is written down (`Persist`) in ELECTING, and every answer goes
   on with the old epoch and PASSIVE until `PersistDone`. A write that failed may have happened: its number is never
   used again, what is written next is above it, and until then nobody goes on in the epoch before (rule 2).
2. **After a start** an earlier coordinator's grant may run for up to one lease. Only the recorded primary's own
   process can hold it. So for one lease time nobody else is elected; that process, if it says that it is primary in
   the recorded epoch, simply goes on (no election), and if it is ready but stepped down meanwhile, is elected anew at
   once. A coordinator that slept (its own timer came late) has heard nobody meanwhile, though nodes may have spoken:
   for half a lease it, too, elects nobody but that process.
3. **The seat empties** when the holder's lease has run out, or when it says that it is not primary any more. The
   second is believed only from a holder that had said before that it *was* primary in this epoch: a heartbeat on its
   way while the grant was on its way says "not primary" too. For this, heartbeats of a process only count upwards,
   and a node that stepped down takes no grant that answers a heartbeat from before that (its own rule). A stream that
   ends empties nothing.
4. **Who wins**: ready nodes with a live lease; the process that held the seat last, if it is still good; else the
   furthest (import, position); else the first in the host file; else the first name. A process that was elected and
   for one whole lease did not take the role lets the others go first for a while. Where there is a host file, a node
   that is not in it is never elected: the VIP does not know it.
5. **The holder has to be ready.** One that is draining, or fell back to loading, is told PASSIVE at once, and another
   is elected as soon as it confirms.
6. **Switchover**: the target has the primary's position, and the store has taken a write, before anything changes; then
   the old primary is told, confirms, and the new one is elected, each pushed at once instead of at the next heartbeat.
7. **Pause** is durable before it is confirmed. While paused nobody is elected and no switchover begins; the holder
   goes on being renewed while its lease does not run out. A handover that has begun to change roles ends first.
"""

import math
from collections.abc import Iterable

from services.coordinator.election.candidates import OneOfOne, best, is_electable, is_recorded
from services.coordinator.election.events import (
    Action,
    Answer,
    ClusterChanged,
    Event,
    Heartbeat,
    HostsChanged,
    NodeState,
    PauseAsked,
    PersistDone,
    PersistFailed,
    Recorded,
    Refuse,
    ResumeAsked,
    Role,
    StreamEnded,
    SwitchoverAsked,
    SwitchoverFailed,
    SwitchoverProblem,
)
from services.coordinator.election.handover import GivenUp, Handover, Phase, Step, refusal
from services.coordinator.election.invariants import broken_rules
from services.coordinator.election.leases import LeaseTable, NodeLease, Verdict
from services.coordinator.election.ledger import Ledger
from services.coordinator.election.pauses import PauseQueue
from services.coordinator.election.seat import ElectionError, Holder, Move, Seat, SeatState
from services.coordinator.election.settings import ElectionSettings as ElectionSettings
from services.shared.cores import Tick


class ElectionCore(OneOfOne):
    """Leases, election, switchover and pause of one cluster. `view.py` shows it to others."""

    def __init__(
        self, settings: ElectionSettings, recorded: Recorded, hosts_order: Iterable[str], now_s: float
    ) -> None:
        self.settings = settings
        self.ledger = Ledger(recorded, settings, now_s)
        #: Names of nodes, or `host:port` of their report ports, first choice first.
        self.hosts_order = tuple(hosts_order)
        self.leases = LeaseTable(settings.lease_s, settings.forget_s)
        self.seat = Seat()
        #: The switchover under way.
        self.handover: Handover | None = None
        #: Until then only the recorded process may be elected (rule 2).
        self.others_from = now_s + settings.lease_s
        #: From then on, who was not heard is not there.
        self.complete_from = now_s + settings.heard_of_all_s
        self._pauses = PauseQueue()
        #: The newest time that it was told; never goes back.
        self.now_s = now_s
        self._shown: object = None

    # ---- in and out --------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """Takes an event in; returns what to do, in this order. Raises ElectionError on an event out of order."""
        now_s = self._go_on(now_s)
        if not isinstance(event, Tick):
            self.seat.hear(now_s, event)
        actions: list[Action] = []
        match event:
            case Tick():
                self.leases.forget_gone(self.hosts_order, now_s)
            case Heartbeat():
                self._take_heartbeat(event, now_s, actions)
            case StreamEnded():
                held = self._may_hold_role(event.node, now_s)
                self.leases.end_stream(event.node, event.incarnation, now_s, may_hold_role=held)
            case SwitchoverAsked():
                self._begin_switchover(event, now_s, actions)
            case PauseAsked() | ResumeAsked():
                self._pauses.add(event)
            case PersistDone():
                self._end_write(event.recorded, now_s, actions)
            case PersistFailed():
                self._fail_write(event, now_s, actions)
            case HostsChanged():
                self.hosts_order = event.hosts_order
        self._settle(now_s, actions)
        return actions

    def _go_on(self, now_s: float) -> float:
        """Notes the time, and whether this coordinator slept through a time at which it had something to do."""
        due_s = self.deadline_s
        if due_s is not None and now_s > due_s + self.settings.lease_s / 2:
            self.others_from = max(self.others_from, now_s + self.settings.lease_s / 2)
            self.complete_from = now_s + self.settings.heard_of_all_s
        self.now_s = max(now_s, self.now_s)
        return self.now_s

    @property
    def deadline_s(self) -> float | None:
        """When it has something to do if nothing happens before; None while it waits for nothing."""
        times = [*self.leases.times(self.hosts_order), self.others_from, *self.ledger.times]
        if (holder := self.seat.holder) is not None:
            times.append(holder.right_until)
            if not holder.acknowledged:
                times.append(holder.elected_at + self.settings.lease_s)
        if (handover := self.handover) is not None:
            times += [handover.deadline_at, handover.closing_until, handover.probe_at]
        return min([time for time in times if self.now_s < time < math.inf], default=None)

    @property
    def recorded(self) -> Recorded:
        """What is durable."""
        return self.ledger.recorded

    def validate(self) -> None:
        """Raises ElectionError (or LeaseError) where the state breaks a rule: see invariants.py."""
        self.leases.validate()
        self.seat.validate()
        for what in broken_rules(self):
            raise ElectionError(self.seat.with_story(what))

    # ---- heartbeats --------------------------------------------------------------------------------------------------

    def _take_heartbeat(self, heartbeat: Heartbeat, now_s: float, actions: list[Action]) -> None:
        held = self._may_hold_role(heartbeat.node, now_s)
        verdict = self.leases.take(heartbeat, now_s, may_hold_role=held)
        if verdict is Verdict.REFUSED:
            message = f"another process holds the name {heartbeat.node}: end it, or give this node another name"
            actions.append(Refuse(node=heartbeat.node, incarnation=heartbeat.incarnation, message=message))
        lease = self.leases.process(heartbeat.node, heartbeat.incarnation)
        if verdict is not Verdict.TAKEN or lease is None:
            return
        self.ledger.hear(heartbeat.primary_epoch, heartbeat.known_epoch)
        self._hear_of_role(lease, now_s)
        self._settle(now_s, actions)
        if not any(isinstance(action, Answer) and action.node == heartbeat.node for action in actions):
            self._answer(lease, actions, pushed=False)

    def _hear_of_role(self, lease: NodeLease, now_s: float) -> None:
        """What the heartbeat says about the seat (rules 2 and 3)."""
        said, holder = lease.last.primary_epoch, self.seat.holder
        if holder is None:
            goes_on = said == self.recorded.epoch > 0 and lease.last.state is NodeState.PRIMARY
            vacant = self.seat.state is SeatState.VACANT and self.handover is None
            if vacant and not self.ledger.unsure and goes_on and is_recorded(lease, self.recorded):
                holder = Holder(lease.node, lease.incarnation, said, now_s, lease.ends_at, acknowledged=True)
                self.seat.move(Move.RENEWED, holder)
            return
        if not holder.is_process(lease):
            return
        if self.seat.state is SeatState.HELD:
            holder.right_until = lease.ends_at
        if said == holder.epoch:
            holder.acknowledged = True
        elif holder.acknowledged:
            self._empty_seat(now_s, f"{lease.node} stepped down by itself: its own log says why")

    def _may_hold_role(self, node: str, now_s: float) -> bool:
        """Whether some process of that name may hold a good grant."""
        held = self.seat.holder is not None and self.seat.holder.node == node
        return held or (now_s < self.others_from and node == self.recorded.primary)

    def _answer(self, lease: NodeLease, actions: list[Action], *, pushed: bool) -> None:
        """The only place where grants leave: PRIMARY goes to the holder in HELD and to nobody else."""
        actions.append(
            Answer(
                node=lease.node,
                incarnation=lease.incarnation,
                sequence=lease.last.sequence,
                role=Role.PRIMARY if self.seat.is_granted_to(lease) else Role.PASSIVE,
                epoch=self.recorded.epoch,
                lease_s=self.settings.lease_s,
                primary=self.seat.primary,
                pushed=pushed,
                others_ready=self.leases.ready_beside(lease, self.now_s, complete=self.now_s >= self.complete_from),
            )
        )

    # ---- what follows from the state and the time --------------------------------------------------------------------

    def _settle(self, now_s: float, actions: list[Action]) -> None:
        """Takes every step that is due."""
        for _ in range(16):
            if not (
                self._check_holder(now_s, actions)
                or self._check_handover(now_s, actions)
                or self._write_pause(now_s, actions)
                or self._prepare(now_s, actions)
                or self._elect(now_s, actions)
            ):
                break
        else:
            raise ElectionError(self.seat.with_story("the rules do not come to rest"))
        actions += self.ledger.rehearse_if_due(now_s) if self.handover is None else ()
        phase = self.handover and self.handover.phase
        shown = (self.recorded, self.seat.primary, self.leases.shown(now_s), phase, self.ledger.problem)
        if shown != self._shown:
            self._shown = shown
            actions.append(ClusterChanged())

    def _check_holder(self, now_s: float, actions: list[Action]) -> bool:
        """Rules 3 to 5: whether the holder still holds the seat, and may."""
        holder = self.seat.holder
        if holder is None:
            return False
        if now_s >= holder.right_until:
            lease = self.leases.process(holder.node, holder.incarnation)
            self._empty_seat(now_s, holder.why_over(lease, self.settings.lease_s, now_s))
            return True
        if self.seat.state is not SeatState.HELD:
            return False
        lease = self.leases.process(holder.node, holder.incarnation)
        if not holder.acknowledged and now_s >= holder.elected_at + self.settings.lease_s:
            if lease is not None:
                lease.demoted_until = now_s + self.settings.demotion_s
            self._tell_holder_to_stop(now_s, actions, "it was elected and did not take the role within a lease")
            return True
        if lease is not None and not lease.is_ready(now_s):
            self._tell_holder_to_stop(now_s, actions, f"it is {lease.last.state.name.lower().replace('_', ' ')}")
            return True
        return False

    def _tell_holder_to_stop(self, now_s: float, actions: list[Action], why: str, *, asked: bool = False) -> None:
        self.seat.lose(Move.TOLD, why, asked=asked)
        if self.handover is not None and self.handover.phase is Phase.CATCHING_UP:
            self.handover.leave(now_s)
        if (holder := self.seat.holder) and (lease := self.leases.process(holder.node, holder.incarnation)):
            self._answer(lease, actions, pushed=True)

    def _empty_seat(self, now_s: float, why: str) -> None:
        holder = self.seat.holder
        self.seat.lose(Move.EMPTIED, why)
        if self.handover is None or holder is None:
            return
        if self.handover.phase is Phase.CATCHING_UP:
            self.handover.phase = Phase.OVERTAKEN
        elif self.handover.phase is Phase.LEAVING:
            lease = self.leases.get(holder.node)
            self.handover.close(lease.standing if lease else (0, 0), now_s + self.settings.closing_s)

    def _elect(self, now_s: float, actions: list[Action]) -> bool:
        """Rules 1, 2, 4: chooses a winner for a vacant seat, and has it written down."""
        if self.seat.state is not SeatState.VACANT or not self.ledger.may_write(now_s):
            return False
        handover, winner = self.handover, None
        if handover is not None and handover.phase is Phase.CLOSING:
            target = self.leases.get(handover.target)
            winner = target if target is not None and handover.is_reached_by(target, now_s) else None
        elif not self.recorded.paused:
            winner = self._best(now_s)
        if winner is None or not self._may_win(winner, now_s):
            return False
        self.seat.move(Move.CHOSEN)
        actions.append(self.ledger.elect(winner))
        return True

    def _best(self, now_s: float, without: str = "") -> NodeLease | None:
        """The ready node that goes first (rules 2 and 4), None if there is none."""
        ready = [lease for lease in self.leases if lease.is_ready(now_s) and lease.node != without]
        if now_s < self.others_from:
            ready = [lease for lease in ready if is_recorded(lease, self.recorded)]
        return best(ready, self.recorded, self.hosts_order, now_s)

    # ---- writing down ------------------------------------------------------------------------------------------------

    def _end_write(self, recorded: Recorded, now_s: float, actions: list[Action]) -> None:
        self._expect(recorded)
        self.ledger.succeed()
        if self.seat.state is SeatState.ELECTING:
            self._enthrone(now_s, actions)
        elif self.handover is not None:
            self.handover.can_write = True

    def _expect(self, recorded: Recorded) -> None:
        if recorded != self.ledger.writing:
            raise ElectionError(self.seat.with_story(f"told of a write of {recorded}, not of {self.ledger.writing}"))

    def _enthrone(self, now_s: float, actions: list[Action]) -> None:
        """The winner is durable: tells it, unless it was lost meanwhile."""
        recorded = self.recorded
        lease = self.leases.process(recorded.primary, recorded.primary_incarnation)
        if lease is None or not lease.is_ready(now_s):
            self.seat.move(Move.DROPPED)
            return
        self.seat.move(Move.WRITTEN, Holder(lease.node, lease.incarnation, recorded.epoch, now_s, lease.ends_at))
        self._answer(lease, actions, pushed=True)
        if (handover := self.handover) is None:
            return
        if lease.node == handover.target:
            self.handover = None
            actions.append(handover.done(recorded.epoch, now_s))
        else:
            self._fail_handover(SwitchoverProblem.NOT_POSSIBLE, f"{lease.node} was further and is primary now", actions)

    def _fail_write(self, event: PersistFailed, now_s: float, actions: list[Action]) -> None:
        self._expect(event.recorded)
        election = self.seat.state is SeatState.ELECTING
        self.ledger.fail(event.reason, now_s, election=election)
        if election:
            self.seat.move(Move.DROPPED)
            return
        why = f"the coordinator cannot write its state: {event.reason}"
        if self.handover is not None:
            self._fail_handover(SwitchoverProblem.NOT_POSSIBLE, why, actions)
        else:
            actions += self._pauses.refuse(why)

    def _write_pause(self, now_s: float, actions: list[Action]) -> bool:
        """Rule 7: has the oldest open wish written down, once nothing else is being written."""
        wanted = self._pauses.wanted
        holds_seat = self.handover is not None and self.handover.holds_seat
        if wanted is None or self.ledger.writing is not None or holds_seat:
            return False
        if wanted and self.handover is not None:
            self._fail_handover(SwitchoverProblem.NOT_POSSIBLE, "elections were paused meanwhile", actions)
        if wanted == self.recorded.paused:
            actions += self._pauses.fulfil(self.recorded.paused)
            return True
        if may_write := self.ledger.may_write(now_s):
            actions.append(self.ledger.pause(wanted))
        return may_write

    # ---- switchover --------------------------------------------------------------------------------------------------

    def _begin_switchover(self, asked: SwitchoverAsked, now_s: float, actions: list[Action]) -> None:
        holder, primary = self.seat.holder, self.seat.primary
        if primary and asked.to_node == primary:
            actions.append(Handover(asked.request, primary, primary, now_s, now_s).done(self.recorded.epoch, now_s))
            return
        anybody = self._best(now_s, without=primary)
        target = self.leases.get(asked.to_node) if asked.to_node else anybody
        problem, message = refusal(
            asked.to_node,
            is_known=target is not None,
            is_ready=target is not None and target.is_ready(now_s),
            is_electable=target is None or is_electable(target, self.hosts_order),
            is_paused=self.recorded.paused or self._pauses.wanted is not None,
            has_primary=self.seat.state is SeatState.HELD,
            under_way=self.handover.target if self.handover is not None else "",
        )
        if message or target is None or holder is None:
            actions.append(SwitchoverFailed(request=asked.request, problem=problem, message=message))
            return
        deadline_at = now_s + self.settings.switchover_timeout_s
        self.handover = Handover(asked.request, target.node, holder.node, now_s, deadline_at)

    def _fail_handover(self, problem: SwitchoverProblem, why: str, actions: list[Action]) -> None:
        handover, self.handover = self.handover, None
        if handover is not None:
            actions.append(handover.failed(problem, why))

    def _check_handover(self, now_s: float, actions: list[Action]) -> bool:
        """Rule 6: takes the switchover's next step, or gives it up."""
        handover, holder = self.handover, self.seat.holder
        if handover is None:
            return False
        primary = self.leases.process(holder.node, holder.incarnation) if holder is not None else None
        target = self.leases.get(handover.target)
        may_tell, vacant = holder is not None and holder.acknowledged, self.seat.state is SeatState.VACANT
        match handover.step(primary, target, self.settings, now_s, may_tell=may_tell, vacant=vacant):
            case GivenUp(problem, why):
                self._fail_handover(problem, why, actions)
                return True
            case Step.WRITE if self.ledger.may_write(now_s):
                actions.append(self.ledger.rehearse())
            case Step.TELL:
                self._tell_holder_to_stop(now_s, actions, f"switchover to {handover.target}, as asked", asked=True)
                return True
            case Step.ASK:
                for lease in filter(None, (primary, target)):
                    self._answer(lease, actions, pushed=True)  # is answered with a heartbeat
        return False
