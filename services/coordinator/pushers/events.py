"""What the pushers' election is told (events), and what it asks of its shell (actions)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from services.coordinator.election.events import Persist, PersistDone, PersistFailed, Recorded
from services.shared.cores import Tick


class PusherState(IntEnum):
    """What a pusher says that it does; the numbers are those of `fasttree.v1.PusherState`."""

    UNSPECIFIED = 0
    STANDBY = 1
    CLAIMING = 2
    ACTIVE = 3
    DRAINING = 4
    UNFIT = 5


#: One that says so can be made active.
FIT = frozenset(PusherState) - {PusherState.UNSPECIFIED, PusherState.DRAINING, PusherState.UNFIT}


@dataclass(frozen=True, slots=True)
class PusherBeat:
    """A pusher's heartbeat has been received."""

    name: str
    incarnation: str
    #: Counts a process's heartbeats, from 1: one that is not above the last one is late.
    sequence: int
    #: host:port at which clients and nodes reach it.
    address: str = ""
    state: PusherState = PusherState.STANDBY
    #: The end of the log as far as it has read.
    position: int = 0
    #: The epoch in which it is active; 0 while it is not.
    epoch: int = 0
    #: The highest epoch that it has heard of, or found in the log.
    known_epoch: int = 0
    #: What stands in the way of its taking over; empty where nothing does.
    note: str = ""
    #: The log that it reads or writes; empty where it has read none, or is of a version that does not say.
    log_id: str = ""
    #: It is active, and takes pushes: the nodes go on from that log, or have nothing that says otherwise.
    log_in_force: bool = False
    #: The logs in whose place that one was put.
    replaced_log_ids: tuple[str, ...] = ()

    def shown(self) -> tuple[object, ...]:
        """What whoever watches wants to hear of when it changes."""
        return self.name, self.incarnation, self.address, self.state, self.epoch, self.note, self.log_id


@dataclass(frozen=True, slots=True)
class PusherSwitchoverAsked:
    """An operator wants another active pusher; empty: the one that has read furthest."""

    request: int
    to_pusher: str = ""


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """To a coordinator that stands by: the coordinators' lease was read. What is recorded in it, and for how long it
    was seen not to be renewed."""

    recorded: Recorded
    unchanged_s: float


@dataclass(frozen=True, slots=True)
class NodesHold:
    """Most nodes hold the state of another log than they did, or of none; empty: no log has most of them."""

    log_id: str


PusherEvent = PusherBeat | NodesHold | PusherSwitchoverAsked | LeaseSeen | PersistDone | PersistFailed | Tick


@dataclass(frozen=True, slots=True)
class PusherAnswer:
    """Tell a pusher whether it is the active one."""

    name: str
    incarnation: str
    sequence: int
    active: bool
    epoch: int
    active_name: str
    active_address: str
    #: Why it is not made active, whatever it says of itself; empty where it may be.
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class PusherRefused:
    """End this process's stream: another one holds its name."""

    name: str
    incarnation: str
    message: str


@dataclass(frozen=True, slots=True)
class PusherSwitchoverDone:
    """The wanted pusher is active."""

    request: int
    from_pusher: str
    to_pusher: str
    epoch: int
    took_s: float


@dataclass(frozen=True, slots=True)
class PusherSwitchoverFailed:
    """It is not, or was not in time; one line for the operator."""

    request: int
    message: str
    is_known: bool
    in_time: bool = True


@dataclass(frozen=True, slots=True)
class PushersChanged:
    """Whoever watches wants to know."""


PusherAction = Persist | PusherAnswer | PusherRefused | PusherSwitchoverDone | PusherSwitchoverFailed | PushersChanged
