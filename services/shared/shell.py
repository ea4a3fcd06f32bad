"""A shell's side of its core's door (`cores.py`): an event goes in, what comes of it is performed in its order, and the
core hears of the time when that is due."""

from __future__ import annotations

from typing import Generic, TypeVar

from services.shared.clock import Clock, Timer
from services.shared.cores import Core, Tick
from services.shared.serving.background import Background

EventT = TypeVar("EventT")
ActionT = TypeVar("ActionT")


class CoreShell(Generic[EventT, ActionT]):
    """What performs what a core decides. A fault of the core ends the process.

    Args:
        core: Decides.
        clock: What the core goes by.
        background: Told of a fault; nothing more is done once the process must not go on.
        what: The core's work, for whoever reads of a fault.
    """

    def __init__(self, core: Core[EventT | Tick, ActionT], clock: Clock, background: Background, what: str) -> None:
        self._core, self._clock, self._background, self._what = core, clock, background, what
        self._timer: Timer | None = None
        #: Nothing more is done.
        self._closed = False

    def feed(self, event: EventT | Tick) -> None:
        """Hands an event to the core and performs what it asks for."""
        if self._closed or self._background.failed.is_set() or not self._takes_events():
            return
        try:
            actions = self._core.handle(event, self._clock.now_s())
            self._core.validate()
        except Exception as error:
            self._background.fail(error, self._what)
            return
        self._decided()
        for action in actions:
            self._perform(action)
        self._performed()
        if self._timer is not None:
            self._timer.cancel()
        if (deadline_s := self._core.deadline_s) is not None:
            self._timer = self._clock.call_at(deadline_s, lambda: self.feed(Tick()))

    def shut(self) -> None:
        """Takes no more events."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    # ---- what each shell says for itself -----------------------------------------------------------------------------

    def _perform(self, action: ActionT) -> None:
        """Does it, or begins to; never waits."""
        raise NotImplementedError

    def _takes_events(self) -> bool:
        """Whether anything may be done now."""
        return True

    def _decided(self) -> None:
        """The core has taken an event in; what comes of it is performed next."""

    def _performed(self) -> None:
        """What came of an event is performed."""
