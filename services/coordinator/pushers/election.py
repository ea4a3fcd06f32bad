"""Which of several pushers is active. No I/O, no clock: heartbeats and the time in, answers and records out.

Rules:
1. **Epochs.** Each election has a number of its own, above every one that this core, its store or any pusher has known:
   pushers find the log's own epoch in it, and tell. The winner is durable (`Persist`) before it is told. A write that
   failed may have happened: its number is not used again.
2. **Nobody is told to be active but the recorded process**, in the recorded epoch. Whoever was active before is told
   that it is not, at once; it may go on for as long as it has not heard that, and the log takes nothing of it from the
   new one's claim on. So a lease is here for one thing only: when to look for another one.
3. **The active one is replaced** once it was silent for a lease, or says that it ends or can't read the log; or where
   it does not become active within ten. After a start of this coordinator, and after a sleep, everybody has one lease
   to be heard first.
4. **Who wins**: a pusher that is heard, and that reads the log: one that is active already (this coordinator lost its
   record), the one that has read furthest, then the first name. One that was elected and did not become active lets
   others go first.
5. **Switchover**: the wanted one is recorded as any winner is, while the active one goes on. It is done when the wanted
   one says that it is active in that epoch.
6. A name belongs to the process that was heard under it, until that was silent for a lease.
7. One that is active in an epoch above the recorded one was named by a coordinator that stood by (`nomination.py`),
   and has the log: it is recorded under that epoch, so that it need not claim again, unless a higher one is known.
8. **The cluster's log** is the one over which an active pusher takes pushes; while none does, the one that most nodes
   hold the state of; where nobody says so, the one of which the first was true last, which is recorded. One that has
   another log (settings of before a move, a folder that is new) could take nothing from clients, since the nodes refuse
   it: it is elected only where nobody is heard that has the cluster's, and the recorded pusher itself came back with
   another one (it was restored, or moved by hand), or nobody was heard with it for as long as one that is gone is
   listed, or an operator names it. It gives way to the first that has the cluster's log, until it takes pushes itself.
   One whose log an operator put in the cluster's place has no other one, and goes first.
"""

from __future__ import annotations

import math
from dataclasses import replace

from services.coordinator.election.events import Persist, PersistDone, PersistFailed, Recorded
from services.coordinator.pushers.cluster_log import ClusterLog
from services.coordinator.pushers.events import (
    FIT,
    LeaseSeen,
    NodesHold,
    PusherAction,
    PusherAnswer,
    PusherBeat,
    PusherEvent,
    PusherRefused,
    PushersChanged,
    PusherState,
    PusherSwitchoverAsked,
    PusherSwitchoverDone,
    PusherSwitchoverFailed,
)
from services.coordinator.pushers.leases import PusherLease, PusherSwitchover
from services.coordinator.pushers.settings import PusherElectionSettings

#: A write that failed is tried again after this, in seconds.
_WRITE_AGAIN_S = 0.25
#: A claim reads what the pusher before has stored last, and may have to wait for its disk: so many leases.
_LEASES_TO_CLAIM = 10


class PusherElectionError(AssertionError):
    """The core broke one of its own rules."""


class PusherElection:
    """Leases and elections of the pushers of one cluster."""

    def __init__(self, settings: PusherElectionSettings, recorded: Recorded, now_s: float) -> None:
        self._settings = settings
        #: What is durable.
        self.recorded = recorded
        #: What is being written.
        self.writing: Recorded | None = None
        #: Why the last write failed; empty once one succeeded, or none is needed any more.
        self.problem = ""
        self.leases: dict[str, PusherLease] = {}
        #: Every epoch up to here was used or heard of.
        self.epoch_floor = recorded.pusher_epoch
        #: Nobody is elected before.
        self._elects_from_s = now_s + settings.pusher_lease_s
        self._write_again_at_s = now_s
        #: The recorded one has to be active by then.
        self._due_at_s = self._elects_from_s
        self._switchover: PusherSwitchover | None = None
        self.cluster_log = ClusterLog(recorded.pusher_log, now_s)
        self._now_s = now_s
        self._shown: object = None

    # ---- in and out --------------------------------------------------------------------------------------------------

    def handle(self, event: PusherEvent, now_s: float) -> list[PusherAction]:
        """Takes an event in; returns what to do, in this order."""
        due_s = self.deadline_s
        if due_s is not None and now_s > due_s + self._settings.pusher_lease_s / 2:
            # Slept: nobody was heard meanwhile.
            self._elects_from_s, self.cluster_log.heard_at_s = now_s + self._settings.pusher_lease_s, now_s
        self._now_s = now_s = max(now_s, self._now_s)
        actions: list[PusherAction] = []
        match event:
            case PusherBeat():
                self._hear(event, now_s, actions)
            case PersistDone():
                self._written(now_s, actions)
            case PersistFailed():
                self.writing, self.problem = None, event.reason
                self._write_again_at_s = now_s + _WRITE_AGAIN_S
            case PusherSwitchoverAsked():
                self._begin_switchover(event, now_s, actions)
            case LeaseSeen():
                actions += self._see(event)
            case NodesHold():
                self.cluster_log.of_nodes = event.log_id
        self.cluster_log.look(in_force=self._takes_pushes(now_s))
        self._forget(now_s)
        self._check_switchover(now_s, actions)
        self._note_log(now_s, actions)
        self._elect(now_s, actions)
        shown = (self.recorded, tuple((name, lease.beat.shown()) for name, lease in sorted(self.leases.items())))
        if shown != self._shown:
            self._shown = shown
            actions.append(PushersChanged())
        return actions

    @property
    def deadline_s(self) -> float | None:
        """When it has something to do if nothing happens before."""
        lease_s = self._settings.pusher_lease_s
        times = [self._elects_from_s, self._write_again_at_s, self._due_at_s, self._log_gone_at_s]
        times += [lease.heard_at_s + lease_s for lease in self.leases.values()]
        times += [lease.demoted_until_s for lease in self.leases.values()]
        if self._switchover is not None:
            times.append(self._switchover.begun_at_s + self._settings.pusher_switchover_timeout_s)
        return min([time for time in times if time > self._now_s], default=None)

    def is_alive(self, lease: PusherLease, now_s: float) -> bool:
        """Whether it was heard within its lease."""
        return now_s < lease.heard_at_s + self._settings.pusher_lease_s

    # ---- heartbeats --------------------------------------------------------------------------------------------------

    def _hear(self, beat: PusherBeat, now_s: float, actions: list[PusherAction]) -> None:
        lease = self.leases.get(beat.name)
        if lease is not None and lease.beat.incarnation != beat.incarnation:
            ended = lease.beat.state is PusherState.DRAINING
            if self.is_alive(lease, now_s) and not ended:  # rule 6
                message = f"another process holds the name {beat.name}: end it, or set another pusher.name"
                actions.append(PusherRefused(beat.name, beat.incarnation, message))
                return
            lease = None
        if lease is None:
            lease = self.leases[beat.name] = PusherLease(beat, now_s)
        elif beat.sequence > lease.beat.sequence:
            lease.beat, lease.heard_at_s = beat, now_s
        else:
            return
        self.epoch_floor = max(self.epoch_floor, beat.known_epoch, beat.epoch)
        if self._is_active(beat):
            self._due_at_s = -math.inf  # it has become active
        self.cluster_log.hear(beat, now_s, is_active=self._is_active(beat) or self._is_ahead(lease))
        actions.append(self._answer(lease))

    def _answer(self, lease: PusherLease) -> PusherAnswer:
        """The only place from which a pusher hears that it is active (rule 2)."""
        return PusherAnswer(
            lease.beat.name,
            lease.beat.incarnation,
            lease.beat.sequence,
            self._is_recorded(lease.beat),
            self.recorded.pusher_epoch,
            self.recorded.pusher,
            self.recorded.pusher_address,
            self.cluster_log.why_not(lease.beat),
        )

    def _is_recorded(self, beat: PusherBeat) -> bool:
        return (beat.name, beat.incarnation) == (self.recorded.pusher, self.recorded.pusher_incarnation)

    def _is_active(self, beat: PusherBeat) -> bool:
        """Whether it is the recorded one, and has become active."""
        return self._is_recorded(beat) and beat.epoch == self.recorded.pusher_epoch

    def _forget(self, now_s: float) -> None:
        gone = [
            name
            for name, lease in self.leases.items()
            if now_s >= lease.heard_at_s + self._settings.pusher_forget_s and name != self.recorded.pusher
        ]
        for name in gone:
            del self.leases[name]

    # ---- elections ---------------------------------------------------------------------------------------------------

    def _elect(self, now_s: float, actions: list[PusherAction]) -> None:
        if self.writing is not None or now_s < self._write_again_at_s:
            return
        if (switchover := self._switchover) is not None and switchover.epoch == 0:
            winner = self.leases.get(switchover.to_pusher)
            if winner is not None and self._may_be_wanted(winner, now_s):
                self._record(winner, now_s, actions)
            return
        if not self._is_vacant(now_s):
            self.problem = ""  # nothing waits to be written any more
            return
        if now_s < self._elects_from_s:
            return
        active = self.leases.get(self.recorded.pusher)
        if active is not None and self._is_recorded(active.beat) and self._is_fit(active, now_s):
            active.demoted_until_s = now_s + 10.0 * self._settings.pusher_lease_s  # it did not become active
        fit = [lease for lease in self.leases.values() if self._is_fit(lease, now_s)]
        if not self._is_log_gone(now_s):
            fit = [lease for lease in fit if self._has_log(lease)]
        if fit:
            self._record(min(fit, key=lambda lease: self._rank(lease, now_s)), now_s, actions)

    def _is_fit(self, lease: PusherLease, now_s: float) -> bool:
        return self.is_alive(lease, now_s) and lease.beat.state in FIT

    # ---- whose log it is (rule 8) ------------------------------------------------------------------------------------

    def _has_log(self, lease: PusherLease) -> bool:
        return self.cluster_log.may_be_of(lease.beat)

    def _is_log_heard(self, now_s: float) -> bool:
        """Whether anybody that has the cluster's log is heard, whatever else is wrong with it."""
        return any(
            self.is_alive(lease, now_s) and self.cluster_log.is_shown_by(lease.beat) for lease in self.leases.values()
        )

    def _may_be_wanted(self, lease: PusherLease, now_s: float) -> bool:
        """Whether an operator can have it made active."""
        return self._is_fit(lease, now_s) and (self._has_log(lease) or not self._is_log_heard(now_s))

    @property
    def _log_gone_at_s(self) -> float:
        return self.cluster_log.heard_at_s + self._settings.pusher_forget_s

    def _is_log_gone(self, now_s: float) -> bool:
        if self._is_log_heard(now_s):
            return False
        recorded = self.leases.get(self.recorded.pusher)
        came_back = recorded is not None and self.is_alive(recorded, now_s) and not self._has_log(recorded)
        return came_back or now_s >= self._log_gone_at_s

    def _note_log(self, now_s: float, actions: list[PusherAction]) -> None:
        """What is recorded follows what is known of the cluster's log."""
        lease = self.leases.get(self.recorded.pusher)
        log_id = self.cluster_log.log_id
        if log_id == self.recorded.pusher_log or self.writing is not None or now_s < self._write_again_at_s:
            return
        if lease is None or not self._is_active(lease.beat):
            return  # the next election's record has it
        if self.epoch_floor > self.recorded.pusher_epoch:  # what is stored may be a later election, whose write failed
            self._record(lease, now_s, actions)
        else:
            self.writing = replace(self.recorded, pusher_log=log_id)
            actions.append(Persist(recorded=self.writing))

    def _is_vacant(self, now_s: float) -> bool:
        """Rule 3: whether another one is to be looked for."""
        lease = self.leases.get(self.recorded.pusher)
        if lease is None or not self._is_recorded(lease.beat) or not self._is_fit(lease, now_s):
            return True
        if lease.beat.known_epoch > self.recorded.pusher_epoch:
            return True  # the log is another epoch's: a coordinator that lost its record
        if any(self._is_ahead(each) and self._is_fit(each, now_s) for each in self.leases.values()):
            return True  # rule 7: nobody writes in the recorded epoch any more
        if not self._has_log(lease) and not lease.beat.log_in_force and self._is_another_fit(now_s):
            return True  # rule 8
        return -math.inf < self._due_at_s <= now_s and lease.beat.epoch != self.recorded.pusher_epoch

    def _takes_pushes(self, now_s: float) -> bool:
        """Whether the active one is heard, and says so."""
        lease = self.leases.get(self.recorded.pusher)
        return (
            lease is not None
            and self.is_alive(lease, now_s)
            and self._is_active(lease.beat)
            and lease.beat.log_in_force
            and lease.beat.state is PusherState.ACTIVE
        )

    def _is_another_fit(self, now_s: float) -> bool:
        """Whether anybody is that has the cluster's log."""
        return any(self._is_fit(each, now_s) and self._has_log(each) for each in self.leases.values())

    def _is_ahead(self, lease: PusherLease) -> bool:
        """Whether it is active in an epoch that this coordinator does not have."""
        return lease.beat.state is PusherState.ACTIVE and lease.beat.epoch > self.recorded.pusher_epoch

    def _record(self, winner: PusherLease, now_s: float, actions: list[PusherAction]) -> None:
        if not (self._is_ahead(winner) and winner.beat.epoch == self.epoch_floor):
            self.epoch_floor += 1
        self.writing = replace(
            self.recorded,
            pusher_epoch=self.epoch_floor,
            pusher=winner.beat.name,
            pusher_incarnation=winner.beat.incarnation,
            pusher_address=winner.beat.address,
            pusher_log=self.cluster_log.log_id,
        )
        actions.append(Persist(recorded=self.writing))

    def _written(self, now_s: float, actions: list[PusherAction]) -> None:
        if self.writing is None:
            raise PusherElectionError("told of a write that was not asked for")
        self.recorded, self.writing, self.problem = self.writing, None, ""
        if self._switchover is not None and self._switchover.to_pusher == self.recorded.pusher:
            self._switchover.epoch = self.recorded.pusher_epoch
        self._tell_all(now_s, actions)

    def _tell_all(self, now_s: float, actions: list[PusherAction]) -> None:
        """The new one first: it has to claim the log, in time; then whoever has to stop."""
        self._due_at_s = now_s + _LEASES_TO_CLAIM * self._settings.pusher_lease_s
        first = sorted(self.leases.values(), key=lambda lease: not self._is_recorded(lease.beat))
        actions += [self._answer(lease) for lease in first]

    def _see(self, seen: LeaseSeen) -> list[PusherAction]:
        """Who acts knows what is recorded; see `nomination.py`."""
        return []

    # ---- an operator's wish ------------------------------------------------------------------------------------------

    def _begin_switchover(self, asked: PusherSwitchoverAsked, now_s: float, actions: list[PusherAction]) -> None:
        active = self.recorded.pusher
        others = [
            lease
            for lease in self.leases.values()
            if lease.beat.name != active and self._is_fit(lease, now_s) and self._has_log(lease)
        ]
        to_pusher = asked.to_pusher or (
            min(others, key=lambda lease: self._rank(lease, now_s)).beat.name if others else ""
        )
        target = self.leases.get(to_pusher)
        if self._switchover is not None:
            message, known = f"a switchover to {self._switchover.to_pusher} is under way", True
        elif not to_pusher:
            message, known = "no other pusher is ready: `fasttree status` lists them", True
        elif target is None:
            names = ", ".join(sorted(self.leases)) or "none"
            message, known = f"there is no pusher {to_pusher} that takes turns; there are: {names}", False
        elif not self._is_fit(target, now_s):
            silent = "" if self.is_alive(target, now_s) else "it was not heard for a while"
            why = silent or target.beat.note or f"it says that it is {target.beat.state.name.lower()}"
            message, known = f"{to_pusher} is not ready: {why}", True
        elif not self._may_be_wanted(target, now_s):
            message, known = f"{to_pusher} can't be active: {self.cluster_log.why_not(target.beat)}", True
        elif to_pusher == active:
            done = PusherSwitchoverDone(asked.request, active, active, self.recorded.pusher_epoch, 0.0)
            actions.append(done)
            return
        else:
            self._switchover = PusherSwitchover(asked.request, active, to_pusher, now_s)
            return
        actions.append(PusherSwitchoverFailed(asked.request, message, is_known=known))

    def _check_switchover(self, now_s: float, actions: list[PusherAction]) -> None:
        switchover = self._switchover
        if switchover is None:
            return
        target = self.leases.get(switchover.to_pusher)
        took_s = now_s - switchover.begun_at_s
        if switchover.epoch and target is not None and target.beat.epoch == switchover.epoch:
            self._switchover = None
            actions.append(
                PusherSwitchoverDone(
                    switchover.request, switchover.from_pusher, switchover.to_pusher, switchover.epoch, took_s
                )
            )
        elif took_s >= self._settings.pusher_switchover_timeout_s:
            self._switchover = None
            why = f"{switchover.to_pusher} did not become active in {took_s:.0f} s; `fasttree status` says who is"
            if self.problem:
                why = f"the coordinator cannot write its state: {self.problem}"
            actions.append(PusherSwitchoverFailed(switchover.request, why, is_known=True, in_time=False))

    def _rank(self, lease: PusherLease, now_s: float) -> tuple[bool, bool, int, int, str]:
        """Who goes first (rules 4, 8): the least."""
        beat = lease.beat
        epoch = beat.epoch if beat.state is PusherState.ACTIVE else 0
        is_behind = not self.cluster_log.is_replaced_by(beat)
        return now_s < lease.demoted_until_s, is_behind, -epoch, -beat.position, beat.name

    def validate(self) -> None:
        """Raises PusherElectionError where a rule is broken."""
        if self.recorded.pusher_epoch > self.epoch_floor:
            raise PusherElectionError("an epoch above all known ones")
        writing = self.writing
        if (
            writing is not None
            and writing.pusher_epoch <= self.recorded.pusher_epoch
            and writing != replace(self.recorded, pusher_log=writing.pusher_log)
        ):
            raise PusherElectionError("an election that does not raise the epoch")
