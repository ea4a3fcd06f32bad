"""What a coordinator that stands by makes of pushers' heartbeats: where the active coordinator and the active pusher
went silent together, it names the next pusher, and nobody waits for a coordinator to take over first. No I/O, no clock.

Rules:
1. It hears the pushers as the active coordinator does, and at each look at the coordinators' lease, what is recorded.
   To a pusher it says who is recorded, as anybody could.
2. **It names another one** where that lease was not renewed for `silence_s`, though it was looked at just now, and the
   recorded pusher was silent here for a lease. The winner is chosen as in an election; nothing is written.
3. **That is safe since the log compares**, as everywhere: its store takes the claims of one holder under an epoch, and
   writes under the newest claim alone. An epoch that is named is the next thousand above all known ones. So two that
   stand by name under one number, of which one claim is taken, and the active one's next number is another one.
4. It names nobody while a pusher is active in, or claims, an epoch above the recorded one.
5. Once the lease is renewed again, the active coordinator decides: whoever was named and is not active by then is told
   that it is not. Who is active stays, and is recorded (`election.py`, rule 7).
"""

from __future__ import annotations

from dataclasses import replace

from services.coordinator.election.events import Recorded
from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import LeaseSeen, PusherAction, PusherAnswer, PusherState
from services.coordinator.pushers.leases import PusherLease
from services.coordinator.pushers.settings import PusherElectionSettings

#: Epochs that are named are multiples of this: the elections between two of them are told apart.
EPOCHS_APART = 1_000
_TAKING = frozenset({PusherState.CLAIMING, PusherState.ACTIVE})


class PusherNomination(PusherElection):
    """The pushers, as a coordinator hears them that is not the active one.

    Args:
        silence_s: A lease among coordinators that was not renewed for so long is taken for that of one that is gone.
    """

    def __init__(self, settings: PusherElectionSettings, silence_s: float, now_s: float) -> None:
        super().__init__(settings, Recorded(), now_s)
        self._silence_s = silence_s
        #: Whether the active coordinator is silent, by the newest look.
        self.is_alone = False
        #: Whom this one named, until the record has gone past it; then it is in the place of what is recorded.
        self.named: Recorded | None = None
        #: Whom it had named, and then did not.
        self._withdrawn: Recorded | None = None

    def _see(self, seen: LeaseSeen) -> list[PusherAction]:
        self.is_alone = seen.unchanged_s >= self._silence_s
        self.epoch_floor = max(self.epoch_floor, seen.recorded.pusher_epoch)
        if seen.recorded.pusher_log:
            self.cluster_log.log_id = seen.recorded.pusher_log
        named = self.named
        if named is None or seen.recorded.pusher_epoch >= named.pusher_epoch:
            self.recorded, self.named = seen.recorded, None
        elif not self.is_alone and not self._has_taken_over(named):
            lease = self.leases.get(named.pusher)
            self.recorded, self.named, self._withdrawn = seen.recorded, None, named
            return [self._answer(lease)] if lease is not None else []
        return []

    def _has_taken_over(self, named: Recorded) -> bool:
        lease = self.leases.get(named.pusher)
        return lease is not None and lease.beat.epoch == named.pusher_epoch

    def _is_vacant(self, now_s: float) -> bool:
        if not self.is_alone or self.recorded.pusher_epoch == 0:
            return False
        for lease in self.leases.values():
            ahead = lease.beat.known_epoch > self.recorded.pusher_epoch and lease.beat.state in _TAKING
            if ahead and self.is_alive(lease, now_s):
                return False
        return super()._is_vacant(now_s)

    def _note_log(self, now_s: float, actions: list[PusherAction]) -> None:
        """The active one records it."""

    def _record(self, winner: PusherLease, now_s: float, actions: list[PusherAction]) -> None:
        self.epoch_floor = (self.epoch_floor // EPOCHS_APART + 1) * EPOCHS_APART
        self.named = self.recorded = replace(
            self.recorded,
            pusher_epoch=self.epoch_floor,
            pusher=winner.beat.name,
            pusher_incarnation=winner.beat.incarnation,
            pusher_address=winner.beat.address,
        )
        self._tell_all(now_s, actions)

    def _answer(self, lease: PusherLease) -> PusherAnswer:
        answer, withdrawn = super()._answer(lease), self._withdrawn
        if withdrawn is None or (lease.beat.name, lease.beat.incarnation) != (
            withdrawn.pusher,
            withdrawn.pusher_incarnation,
        ):
            return answer
        if answer.epoch >= withdrawn.pusher_epoch or lease.beat.epoch >= withdrawn.pusher_epoch:
            return answer
        return replace(answer, active=False, epoch=withdrawn.pusher_epoch)
