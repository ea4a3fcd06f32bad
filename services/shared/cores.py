"""The one door of every core: events and the time go in, actions come out.

A core decides and does nothing: no asyncio, grpc, os, clock or chance inside. Its shell (`runner.py` beside it) tells
it what happened, and performs the actions in the order in which they are listed. That time has passed is an event,
too: `Tick`. So servers, simulator and scenario files drive the same object by the same call.

Times are seconds of one monotonic clock, the shell's own, and never go back.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

EventT_contra = TypeVar("EventT_contra", contravariant=True)
ActionT = TypeVar("ActionT")


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed, and nothing else has happened. Due at `deadline_s`; sooner or more often does no harm."""


class Core(Protocol[EventT_contra, ActionT]):
    """A core that something waits in: a lease, a back-off, a time-out."""

    @property
    def deadline_s(self) -> float | None:
        """When it has something to do if nothing happens before; None while it waits for nothing."""

    def handle(self, event: EventT_contra, now_s: float) -> list[ActionT]:
        """Takes an event in; returns what is to be done, in this order."""

    def validate(self) -> None:
        """Raises where a rule of the core does not hold between two events: a fault of the program."""


class TimelessCore(Protocol[EventT_contra, ActionT]):
    """A core in which nothing waits for time."""

    def handle(self, event: EventT_contra) -> list[ActionT]:
        """Takes an event in; returns what is to be done, in this order."""

    def validate(self) -> None:
        """Raises where a rule of the core does not hold between two events: a fault of the program."""
