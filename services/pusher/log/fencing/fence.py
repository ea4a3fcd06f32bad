"""The fence: `LogStore` has the rules."""

from __future__ import annotations

from typing import NamedTuple

from services.pusher.log.store import DeposedError

#: Holders that are no pushers: of a log that is another store's by now (with the name of that place behind it, and
#: which copy of the log it is that is there), and of one that is not complete yet.
MOVED = "moved to "
COPY = ", copy "
COPYING = "copying"

#: By what a place is: its engine, and the setting that has its name.
_ENGINES = {"schema": ("postgresql", "pusher.log_schema"), "stream": ("jetstream", "pusher.nats_stream")}
_NAME_BY_DEFAULT = "fasttree"


class LogElsewhereError(DeposedError):
    """The log was moved to another place, or is not all here yet: no pusher's claim is taken, whatever its epoch."""


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
    def elsewhere(self) -> str:
        """Why no pusher may write this log, whatever its epoch, and the way out; empty where one may."""
        if self.holder == COPYING:
            return "the log is still being copied here: let `fasttree log copy` finish"
        return f"this log was moved to {self.moved_to}: set {settings_of(self.moved_to)}" if self.moved_to else ""

    def check_here(self) -> None:
        """Raises LogElsewhereError where no pusher may write this log."""
        if self.elsewhere:
            raise LogElsewhereError(self.epoch, self.elsewhere)

    def claimed(self, epoch: int, holder: str) -> Fence:
        """The one after a claim. Raises DeposedError where it is refused."""
        if epoch < 1:
            raise ValueError(f"epochs begin at 1, not {epoch}")
        goes_on = holder == COPYING if self.holder == COPYING else holder.startswith(MOVED)
        if not goes_on:
            self.check_here()
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
            self.check_here()
            raise DeposedError(self.epoch)


def settings_of(place: str) -> str:
    """Those that lead a pusher to a place that a log was moved to, in words."""
    kind, name, *_ = [*place.split(" "), ""]
    if kind not in _ENGINES:
        return "pusher.log_store and pusher.log_url"
    engine, setting = _ENGINES[kind]
    named = " and pusher.log_url" if name == _NAME_BY_DEFAULT else f', pusher.log_url and {setting} = "{name}"'
    return f'pusher.log_store = "{engine}"{named}'
