"""The election of one of several coordinators: a primary goes on while no coordinator can be active. No I/O, no clock.

A primary's lease is shorter than a takeover among coordinators. Between two of them nobody can elect another primary,
so the one that there is may stay; what it lacks is somebody who can say so. Any coordinator can, since an election is
a write to the record that they share:

1. **Before another than the recorded process is elected, a notice is written**: the record says that its primary is
   contested. From when the notice is durable the election waits `vouch_s`, or longer where the record says so.
2. **Whoever is asked by the primary looks at the record anew, and vouches** where it names that process in that epoch,
   and has no notice (`vouched_s`). The primary's lease then goes on to `vouch_s`, less its margin, after it *asked*.
   What is read was so after the question, so a notice is younger than the question, and its wait ends later. A look
   has to show what is durable: one at a server that others have left is none (`LeaseStore.read_anew`).
3. A notice is written in time, while the silent primary's lease runs: so a dead one is replaced as soon as before. Once
   it is heard again the notice is taken back; what was given ends as that write begins, whatever becomes of it.
4. No notice is needed where that process said itself, in this turn, that it is primary no more: it asks nobody then,
   and believes no answer (`treenode/node/role.py`, rule 9). Nor under a record without `vouch_s`: nobody vouches by it.
5. While elections are paused there is none to wait for, and no notice.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.coordinator.election.candidates import is_electable, is_recorded
from services.coordinator.election.election import ElectionCore
from services.coordinator.election.events import Action, Recorded
from services.coordinator.election.leases import NodeLease
from services.coordinator.election.seat import SeatState
from services.coordinator.election.settings import ElectionSettings


def vouched_s(recorded: Recorded, node: str, incarnation: str, epoch: int) -> float:
    """How long after its question that process may go on as primary of that epoch, by a record that was read since; 0:
    not at all."""
    own = (recorded.epoch, recorded.primary, recorded.primary_incarnation)
    return recorded.vouch_ms / 1_000 if own == (epoch, node, incarnation) and not recorded.contested else 0.0


class VouchedElection(ElectionCore):
    """See above, and `ElectionCore`."""

    def __init__(
        self, settings: ElectionSettings, recorded: Recorded, hosts_order: Iterable[str], now_s: float
    ) -> None:
        super().__init__(settings, recorded, hosts_order, now_s)
        self.ledger.vouch_ms = round(settings.vouch_s * 1_000)
        #: Since when a notice is durable, at the latest; None: none is, as far as this one knows.
        self._notice_at_s = now_s if recorded.contested else None
        #: The recorded process of this epoch said that it is not primary any more.
        self._left_epoch = -1

    @property
    def deadline_s(self) -> float | None:
        """When it has something to do if nothing happens before."""
        times = [super().deadline_s, self._free_at_s, self._silent_at_s]
        return min([time for time in times if time is not None and time > self.now_s], default=None)

    # ---- what is waited for ------------------------------------------------------------------------------------------

    @property
    def _needs_notice(self) -> bool:
        """Rules 4 and 5."""
        recorded = self.recorded
        return recorded.vouch_ms > 0 and recorded.epoch != self._left_epoch and not recorded.paused

    @property
    def _free_at_s(self) -> float | None:
        """Rule 1: when another one may be elected, where a notice is given."""
        if self._notice_at_s is None:
            return None
        return self._notice_at_s + max(self.settings.vouch_s, self.recorded.vouch_ms / 1_000)

    @property
    def _silent_at_s(self) -> float:
        """Rule 3: from then on a notice is due, if nothing is heard before."""
        ahead_s = self.settings.lease_s - self.settings.vouch_s
        if (holder := self.seat.holder) is not None:
            lease = self.leases.process(holder.node, holder.incarnation)
            return lease.heard_at + ahead_s if lease is not None else self.now_s
        return self.others_from - self.settings.vouch_s

    def _is_wanted(self, now_s: float) -> bool:
        """Whether a notice is due now."""
        if now_s < self._silent_at_s:
            return False
        if self.seat.holder is not None or self.handover is not None:
            return True
        return not any(self._goes_on(lease, now_s) for lease in self.leases)

    def _goes_on(self, lease: NodeLease, now_s: float) -> bool:
        """Whether this is the recorded process, about to be elected again."""
        recorded = is_recorded(lease, self.recorded) and is_electable(lease, self.hosts_order)
        return recorded and lease.is_ready(now_s) and now_s >= lease.demoted_until

    def _may_win(self, winner: NodeLease, now_s: float) -> bool:
        if is_recorded(winner, self.recorded) or not (
            self.recorded.vouch_ms and self._left_epoch != self.recorded.epoch
        ):
            return True
        free_at_s = self._free_at_s
        return free_at_s is not None and now_s >= free_at_s

    # ---- notices -----------------------------------------------------------------------------------------------------

    def _prepare(self, now_s: float, actions: list[Action]) -> bool:
        if not self._needs_notice or not self.ledger.may_write(now_s):
            return False
        wanted = self._is_wanted(now_s)
        if wanted and self._notice_at_s is None:
            actions.append(self.ledger.contest(True))
            return True
        holder = self.seat.holder
        well = self.seat.state is SeatState.HELD and holder is not None and holder.acknowledged
        if well and not wanted and self.recorded.contested:
            self._notice_at_s = None
            actions.append(self.ledger.contest(False))
            return True
        return False

    def _end_write(self, recorded: Recorded, now_s: float, actions: list[Action]) -> None:
        super()._end_write(recorded, now_s, actions)
        if not recorded.contested:
            self._notice_at_s = None
        elif self._notice_at_s is None:
            self._notice_at_s = now_s

    def _hear_of_role(self, lease: NodeLease, now_s: float) -> None:
        before = self.seat.holder
        super()._hear_of_role(lease, now_s)
        if before is not None and self.seat.holder is None and before.is_process(lease):
            self._left_epoch = before.epoch
