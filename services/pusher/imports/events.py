"""What the rollout core is told (events) and what it asks for (actions): see `services/pusher/imports/rollout.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from services.shared.cores import Tick

#: Of the carried positions one that waits for a removed member: (position, the member, where it was removed).
Hold: TypeAlias = tuple[int, str, int]
#: A removal of somebody whom the file does not have: (the member, where it was removed).
Removal: TypeAlias = tuple[str, int]


class ImportPlace(StrEnum):
    """Where an import is in its rollout."""

    WAITING = "waiting"
    ROLLING_OUT = "rolling_out"
    DONE = "done"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class HostsKnown:
    """The nodes, by address, in host-file order: all and only those."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A node is connected, and says which import it serves (0: none). Again whenever that changes.

    `follows_log`: records bring it on, so it knows what was held at any position.
    """

    node: str
    import_id: int
    follows_log: bool = True


@dataclass(frozen=True, slots=True)
class NodeDown:
    """A node is no longer connected."""

    node: str


@dataclass(frozen=True, slots=True)
class PrimarySeen:
    """The primary's address; None while there is none, or nobody says."""

    node: str | None


@dataclass(frozen=True, slots=True)
class ImportAdded:
    """A new import is whole and on disk."""

    import_id: int


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """A sign of life from the node that loads."""

    node: str
    attempt: int


@dataclass(frozen=True, slots=True)
class LoadDone:
    """The node serves from the import; its carried positions, for the manifest."""

    node: str
    attempt: int
    carried_positions: tuple[int, ...]
    carried_holds: tuple[Hold, ...] = ()
    carried_removals: tuple[Removal, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadRefused:
    """The node found the file bad, or too different from the tree that it serves."""

    node: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The node could not finish, for no fault of the file that it could tell. `begun`: it had shown some progress."""

    node: str
    attempt: int
    reason: str
    begun: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `RecordTaken` asked for is on disk."""

    import_id: int


RolloutEvent = (
    HostsKnown
    | NodeUp
    | NodeDown
    | PrimarySeen
    | ImportAdded
    | LoadProgress
    | LoadDone
    | LoadRefused
    | LoadFailed
    | Recorded
    | Tick
)


# --- actions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """Ask the node to take the import, from these nodes (and the pusher itself, last).

    `as_it_comes`: no node can say which updates were held when the file was taken. `carried_of`: the import whose tree
    the node is to find that out in; None where it is known.
    """

    node: str
    import_id: int
    attempt: int
    sources: tuple[str, ...]
    as_it_comes: bool = False
    carried_of: int | None = None


@dataclass(frozen=True, slots=True)
class CancelLoad:
    """Give this load up. The core has done with it: its events are ignored from now on."""

    node: str
    import_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class RecordTaken:
    """Put on disk that the import is taken, with its carried positions; then answer `Recorded`."""

    import_id: int
    carried_positions: tuple[int, ...]
    carried_holds: tuple[Hold, ...] = ()
    carried_removals: tuple[Removal, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Put the import's new state on disk. Nothing waits for it."""

    import_id: int
    place: ImportPlace
    reason: str


@dataclass(frozen=True, slots=True)
class Announce:
    """The import is in force: the log's end names it from now on."""

    import_id: int


RolloutAction = Load | CancelLoad | RecordTaken | RecordPlace | Announce
