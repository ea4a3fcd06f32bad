"""A toy node's state as bytes, with the checksums of the real file: of what was written, and the tree's digest."""

from __future__ import annotations

import hashlib

import msgspec

from fasttree.v1 import types_pb2
from services.shared.rules import rules_from, rules_message
from services.treenode.tree import StateError
from tests.simulator.node_state import Snapshot
from tests.simulator.toy_tree import Fact, ToyTree, Update


class _State(msgspec.Struct):
    """Everything that a tree is, and what goes with it."""

    #: Who wrote it: files of one state differ from node to node.
    node: str
    log_id: str
    import_id: int
    position: int
    base: int
    members: list[tuple[int, Fact]]
    cells: list[tuple[int, int, int]]
    held: list[tuple[int, Update]]
    rejected: list[tuple[int, str]]
    released: list[tuple[int, int]]
    refused_orders: list[int]
    skips: list[int]
    rules: bytes
    digest: int
    carried: tuple[int, ...]
    last_record: tuple[int, Update | None]


def encode(saved: Snapshot, node: str) -> bytes:
    """The file. Where the snapshot is damaged, so is what this makes of it."""
    tree = saved.tree
    state = _State(
        node=node,
        log_id=saved.log_id,
        import_id=tree.import_id,
        position=tree.position,
        base=tree.base,
        members=list(tree.members.items()),
        cells=[(member, name, value) for (member, name), value in tree.cells.items()],
        held=list(tree.held.items()),
        rejected=list(tree.rejected.items()),
        released=list(tree.released.items()),
        refused_orders=sorted(tree.refused_orders),
        skips=sorted(tree.skips),
        rules=rules_message(tree.rules).SerializeToString(deterministic=True),
        digest=tree.digest,
        carried=saved.carried,
        last_record=saved.last_record,
    )
    body = msgspec.json.encode(state)
    return body + b"\n" + (_checksum(body) if saved.sound else b"0" * 64)


def decode(data: bytes) -> Snapshot:
    """What is in it. Raises StateError."""
    body, _, checksum = data.rpartition(b"\n")
    if not is_whole(body, checksum):
        raise StateError("the state's checksum is wrong")
    try:
        state = msgspec.json.decode(body, type=_State)
        rules = rules_from(types_pb2.Rules.FromString(state.rules))
    except (ValueError, msgspec.MsgspecError) as error:
        raise StateError(f"the state can't be read: {error}") from error
    tree = ToyTree(state.import_id, state.position, rules=rules)
    tree.members = dict(state.members)
    tree.cells = {(member, name): value for member, name, value in state.cells}
    tree.held, tree.rejected, tree.released = dict(state.held), dict(state.rejected), dict(state.released)
    tree.refused_orders, tree.skips = set(state.refused_orders), frozenset(state.skips)
    tree.base, tree.digest = state.base, state.digest
    return Snapshot(state.log_id, tree, state.carried, state.last_record)


def is_whole(body: bytes, checksum: bytes) -> bool:
    """The check of what was written."""
    return _checksum(body) == checksum


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
