"""Which log is the cluster's, as a coordinator knows: rule 8 of the pushers' election. No I/O, no clock."""

from __future__ import annotations

from services.coordinator.pushers.events import FIT, PusherBeat, PusherState


class ClusterLog:
    """The log over which an active pusher takes pushes; while none does, that whose state most nodes hold; where
    neither is known, the one of which the first was true last.

    Args:
        log_id: As it was recorded; empty where none was.
        now_s: When this coordinator began to listen.
    """

    def __init__(self, log_id: str, now_s: float) -> None:
        #: As it is known here: what is recorded follows it.
        self.log_id = log_id
        #: An active pusher takes pushes over it.
        self.in_force = False
        #: What most nodes hold; empty where that is none.
        self.of_nodes = ""
        #: When a pusher was heard last that has it; nobody was heard before this coordinator listened.
        self.heard_at_s = now_s

    def hear(self, beat: PusherBeat, now_s: float, *, is_active: bool) -> None:
        """`is_active`: in the newest epoch, so that its word counts."""
        if is_active and beat.log_in_force and beat.log_id:
            self.log_id = beat.log_id
        if self.is_shown_by(beat):
            self.heard_at_s = now_s

    def look(self, *, in_force: bool) -> None:
        """`in_force`: an active pusher is heard that takes pushes."""
        self.in_force = in_force
        if not in_force and self.of_nodes:
            self.log_id = self.of_nodes

    def is_replaced_by(self, beat: PusherBeat) -> bool:
        """Whether an operator put that one's log in its place, though nodes have not heard of it."""
        return not self.in_force and self.log_id in beat.replaced_log_ids

    def may_be_of(self, beat: PusherBeat) -> bool:
        """Whether nothing says that it has another one: pushers of before this rule name none."""
        return not (beat.log_id and self.log_id) or beat.log_id == self.log_id or self.is_replaced_by(beat)

    def is_shown_by(self, beat: PusherBeat) -> bool:
        """Whether it has this log, as far as it can be known: one that can't read its log names none either."""
        return self.may_be_of(beat) and (bool(beat.log_id) or beat.state in FIT)

    def why_not(self, beat: PusherBeat) -> str:
        """Why it is not made active though it says that it could be; empty where it may be."""
        if self.may_be_of(beat):
            return ""
        differs = f"it has log {beat.log_id}, and the cluster's is {self.log_id}"
        if beat.state in (PusherState.ACTIVE, PusherState.CLAIMING):
            return f"{differs}: bring that one back, and its pusher takes over; or `fasttree log adopt`"
        return (
            f"{differs}: start it with the log of the other pushers "
            "(pusher.log_url with its schema or stream; in SQLite pusher.state_folder); only where that one is lost, "
            f"end who has it, then `fasttree switchover --pusher --to {beat.name}` and `fasttree log adopt`"
        )
