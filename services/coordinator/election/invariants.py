"""What must hold of an election core between any two events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.coordinator.election.handover import Phase
from services.coordinator.election.seat import SeatState

if TYPE_CHECKING:
    from services.coordinator.election.election import ElectionCore


def broken_rules(core: ElectionCore) -> Iterator[str]:
    """Each rule that the core's state breaks, in words."""
    yield from _broken_epochs(core)
    yield from _broken_holder(core)
    yield from _broken_handover(core)


def _broken_epochs(core: ElectionCore) -> Iterator[str]:
    writing, recorded = core.ledger.writing, core.recorded
    if core.seat.state is SeatState.ELECTING and writing is None:
        yield "ELECTING without its write"
    if writing is not None and writing.epoch < recorded.epoch:
        yield "a write that lowers the epoch"
    if max(recorded.epoch, writing.epoch if writing else 0) > core.ledger.epoch_floor:
        yield "an epoch above all known ones"


def _broken_holder(core: ElectionCore) -> Iterator[str]:
    holder, recorded, writing = core.seat.holder, core.recorded, core.ledger.writing
    if holder is None:
        return
    if (holder.epoch, holder.node, holder.incarnation) != (
        recorded.epoch,
        recorded.primary,
        recorded.primary_incarnation,
    ):
        yield "a holder that is not the recorded one"
    if core.ledger.unsure or (writing is not None and writing.epoch != recorded.epoch):
        yield "a new epoch beside a holder"
    lease = core.leases.process(holder.node, holder.incarnation)
    if lease is not None and holder.right_until > lease.ends_at:
        yield "a grant that outlives the holder's lease"
    if lease is None and core.now_s < holder.right_until:
        yield "a live holder whose name another process has"


def _broken_handover(core: ElectionCore) -> Iterator[str]:
    handover, state = core.handover, core.seat.state
    if handover is None:
        return
    if handover.target == core.seat.primary:
        yield "a switchover to the primary"
    if handover.phase is Phase.CATCHING_UP and state is not SeatState.HELD:
        yield "a switchover that catches up with nobody"
    if handover.phase is Phase.LEAVING and state is not SeatState.LEAVING:
        yield "a switchover that waits for nobody"
    if handover.phase is Phase.CLOSING and state not in (SeatState.VACANT, SeatState.ELECTING):
        yield "a switchover that closes a seat in use"
