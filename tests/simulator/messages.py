"""What the simulated shells say to each other: the proto's messages, without their encoding."""

from __future__ import annotations

from typing import NamedTuple

from fasttree.v1 import types_pb2
from services.pusher.admission.acks import AckRange
from services.treenode.node.sequence_events import (
    LogEnd,
)
from tests.simulator.toy_tree import ImportFile, Update

Record = tuple[int, Update]


class PushRequest(NamedTuple):
    """A batch of updates from a client; one without an id is malformed. Its receipts are the proto's own."""

    updates: tuple[Update, ...]
    #: How many nodes have to confirm; None: none.
    ack_range: AckRange | None


class Status(NamedTuple):
    """Where a node stands."""

    log_id: str
    import_id: int
    position: int
    #: The newest record that it knows to have; the update itself stands for its checksum.
    record: Record | None = None
    #: The update before which it has halted; 0: it goes on.
    halted_before: int = 0


class Batch(NamedTuple):
    """Records for a node, none in a heartbeat, and the log's end."""

    records: tuple[Record, ...]
    log_end: LogEnd


class Response(NamedTuple):
    """A node's answer to a message: where it stands, if that is new to the pusher, and how far it is."""

    status: Status | None
    position: int


class Manifest(NamedTuple):
    """An import as the pusher keeps it. `carried` is None until the first node has loaded it."""

    import_id: int
    as_of_position: int
    checksum: int
    carried: tuple[int, ...] | None
    #: The rules at the file's position, and what was in force before it.
    meant: types_pb2.ImportManifest


class LoadRequest(NamedTuple):
    """Asks a node to take an import."""

    manifest: Manifest
    sources: tuple[str, ...]
    as_it_comes: bool = False
    log_id: str = ""
    carried_of: int | None = None


class LoadWord(NamedTuple):
    """A word of the node that loads: downloading, building, done (with carried positions), refused, or failed."""

    phase: str
    carried: tuple[int, ...] = ()
    reason: str = ""


class UploadRequest(NamedTuple):
    """A file for a new import, and the position that it was taken at."""

    file: ImportFile
    as_of_position: int


class ClusterSeen(NamedTuple):
    """The cluster as a watcher is told of it."""

    alive: tuple[str, ...]
    primary: str
