"""State files whose checksums are right and whose header is odd, as a peer or another hand may write one: refused in
words, whatever stands where."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.treenode.periods.files import PeriodFiles, label_of
from services.treenode.periods.keeping import Kept
from services.treenode.snapshots.peers import PeerUnfitError, read_of_peer
from services.treenode.snapshots.saving import restore_tree
from services.treenode.snapshots.state_file import (
    MAGIC,
    StateDamagedError,
    check_state,
    map_state,
    read_state,
    write_state_to,
)
from services.treenode.snapshots.store import SnapshotStore
from services.treenode.tree import StateError, Tree
from services.treenode.tree.building.kept import state_to_keep, tree_over
from tests.treenode.tree.judge import naive_tree, tree_of
from tests.treenode.tree.naive import Place
from tests.treenode.tree.say import order, take

_PREFIX = struct.Struct("<8sQQI")
ODD: tuple[Any, ...] = (None, "x", [5], {"x": 1}, 1.5, -1, 2**63, 2**64, True, [], {}, "", [[None]], ["\x00"])


def some_tree() -> Tree:
    naive = naive_tree()
    for number in range(6):
        naive.places[f"m{number}"] = Place(sponsor="m0" if number else "", columns={"city": f"c{number}"})
    tree = tree_of(naive)
    take(tree, order("unknown", 1), order("m1", 1, period="1999-01"))
    return tree


def label_of_snapshot(tree: Tree) -> dict[str, Any]:
    return {
        "cluster": "dot",
        "log_id": "log",
        "import_id": tree.import_id,
        "position": tree.position,
        "digest": tree.digest,
        "carried_positions": [],
        "last_record": [0, 0],
    }


def header_of(path: Path) -> tuple[bytes, dict[str, Any]]:
    """What stands before the header, and that."""
    content = path.read_bytes()
    offset = _PREFIX.unpack(content[: _PREFIX.size])[1]
    header: dict[str, Any] = json.loads(content[offset:])
    return content[:offset], header


def write_with(path: Path, before: bytes, header: Any) -> None:
    """The file with that header, its checksum right."""
    text = json.dumps(header).encode()
    prefix = _PREFIX.pack(MAGIC, len(before), len(text), zlib.crc32(text))
    path.write_bytes(prefix + before[_PREFIX.size :] + text)


def oddities(header: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The header, each time with one value replaced, or one name gone."""
    places: list[tuple[Any, ...]] = [(name,) for name in header]
    places += [(part, name) for part in ("label", "meta") for name in header[part]]
    places += [("meta", "growing", "ids"), ("meta", "spare", "personal")]
    places += [("arrays", 0, name) for name in header["arrays"][0]]
    places += [("meta", name, 0) for name, entries in header["meta"].items() if isinstance(entries, list) and entries]
    for place in places:
        for odd in (*ODD, "gone"):
            changed = copy.deepcopy(header)
            parent: Any = changed
            for step in place[:-1]:
                parent = parent[step]
            if odd == "gone" and isinstance(parent, dict):
                del parent[place[-1]]
            else:
                parent[place[-1]] = odd
            if changed != header:
                yield f"{'.'.join(map(str, place))} = {odd!r}", changed


def test_an_odd_snapshot_is_refused_in_words(tmp_path: Path) -> None:
    tree = some_tree()
    path = tmp_path / "state"
    meta, arrays = tree.state()
    with path.open("w+b") as file:
        write_state_to(file.fileno(), label_of_snapshot(tree), meta, arrays)
    before, header = header_of(path)
    assert restore_tree(read_state(path))[0].digest == tree.digest
    tried = 0
    for what, changed in [*oddities(header), *((f"header = {odd!r}", odd) for odd in ODD)]:
        write_with(path, before, changed)
        tried += 1
        try:
            restored, label = restore_tree(read_state(path))
        except (StateDamagedError, StateError):
            continue
        # A lie that only its writer could know for one; what is taken can be used.
        assert restored.digest == tree.digest, what
        assert json.dumps(restored.state()[0]), what
        assert restored.rejected_updates.total >= 0, what
        assert isinstance(list(restored.held()), list), what
        assert sum(label.carried_positions) + sum(label.last_record) >= 0, what
    assert tried > 400


def test_an_odd_snapshot_of_its_own_keeps_no_node_from_starting(tmp_path: Path) -> None:
    tree = some_tree()
    meta, arrays = tree.state()
    store = SnapshotStore(tmp_path, kept=2, cluster="dot")
    path = store.path_of(tree.import_id, tree.position)
    with path.open("w+b") as file:
        write_state_to(file.fileno(), label_of_snapshot(tree), meta, arrays)
    before, header = header_of(path)
    set_aside = 0
    for _, changed in oddities(header):
        write_with(path, before, changed)
        if store.load_newest() is None:
            set_aside += not path.exists()
    assert set_aside > 100


def test_an_odd_state_of_a_closed_month_is_set_aside(tmp_path: Path) -> None:
    tree = some_tree()
    files = PeriodFiles(tmp_path, aside_max=2, cluster="dot")
    state = Kept("log", "2026-10", tree.import_id, tree.position, False)
    path = files.path_of(state)
    meta, arrays = state_to_keep(tree)
    with path.open("w+b") as file:
        write_state_to(file.fileno(), label_of(state, "dot", tree.digest, 0), meta, arrays)
    assert [kept.state for kept in files.all()] == [state]
    before, header = header_of(path)
    for what, changed in oddities(header):
        write_with(path, before, changed)
        for kept in files.all():
            assert (kept.state.period, kept.state.position) == (state.period, state.position), what
            try:
                check_state(path)
                mapped = map_state(path)
                assert tree_over(mapped.meta, mapped.arrays, state.period).digest == tree.digest, what
            except (StateDamagedError, StateError):
                continue


def test_a_peers_snapshot_of_another_cluster_or_none_at_all_is_unfit(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"no state")
    with pytest.raises(StateDamagedError):
        read_of_peer(tmp_path / "part", "dot")
    tree = some_tree()
    meta, arrays = tree.state()
    with (tmp_path / "part").open("w+b") as file:
        write_state_to(file.fileno(), label_of_snapshot(tree), meta, arrays)
    assert read_of_peer(tmp_path / "part", "dot")[0].digest == tree.digest
    with pytest.raises(PeerUnfitError, match="of cluster dot"):
        read_of_peer(tmp_path / "part", "another")
