"""The fence: `LogStore` has the rules."""

from __future__ import annotations

from typing import NamedTuple

from services.pusher.log.store import DeposedError

#: Holders that are no pushers: of a log that is another store's by now (with the name of that place behind it, and
#: which copy of the log it is that is there), and of one that is not complete yet.
MOVED = "moved to "
COPY = ", copy "
COPYING = "copying"


class Fence(NamedTuple):
    """Who may write to a log: as the log has it, or as a process claimed it.

    Attributes:
        epoch: 0 where nobody ever claimed it.
        holder: The pusher that the epoch was given to; empty for the one pusher that nobody gives epochs.
        claims: How many there were; the newest alone may write.
    """

    epoch: int
    holder: str
    claims: int

    @property
    def moved_to(self) -> str:
        """Where the log goes on, if it was moved; empty where not."""
        if not self.holder.startswith(MOVED):
            return ""
        return self.holder.removeprefix(MOVED).partition(COPY)[0]

    @property
    def in_force(self) -> tuple[int, str]:
        """The epoch and the holder that the only pusher claims under. One that is no pusher it never takes for itself:
        such a claim is refused."""
        is_pusher = self.holder != COPYING and not self.moved_to
        return max(self.epoch, 1), self.holder if is_pusher else ""

    def claimed(self, epoch: int, holder: str) -> Fence:
        """The one after a claim. Raises DeposedError where it is refused."""
        if epoch < 1:
            raise ValueError(f"epochs begin at 1, not {epoch}")
        if self.holder.startswith(MOVED) and not holder.startswith(MOVED):
            raise DeposedError(self.epoch, f"this log was {self.holder}: see to pusher.log_store and pusher.log_url")
        if self.holder == COPYING and holder != COPYING:
            raise DeposedError(self.epoch, "the log is still being copied here: let `fasttree log copy` finish")
        if epoch < self.epoch:
            raise DeposedError(self.epoch, f"epoch {epoch} is over: epoch {self.epoch} is in force in the log")
        if epoch == self.epoch and holder != self.holder:
            raise DeposedError(self.epoch, f"epoch {epoch} is that of {self.holder or 'a pusher without a name'}")
        return Fence(epoch, holder, self.claims + 1)

    def check(self, own: Fence | None) -> None:
        """Raises DeposedError where this is not what a process claimed (None: nothing)."""
        if own is None:
            raise DeposedError(self.epoch, "this process has not claimed the log: it reads only")
        if self.claims != own.claims:
            raise DeposedError(self.epoch)
