"""The engine alone, in a process of its own: reading, building, orders, enrolments. Prints one JSON line.

python -m bench.engine.tree_engine members.csv
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.reports.tree_node import PERIODS, VOLUME_TYPES
from fasttree.v1 import types_pb2
from services.shared.rules import rules_of
from services.treenode.imports.reading import read_import
from services.treenode.tree import NO_DAY, Tree
from services.treenode.tree.columns.ids import words_of
from services.treenode.tree.kernels.postings import enrol_members, post_volumes
from services.treenode.tree.store import DISTRIBUTOR

_BATCH = 1_000
_BATCHES = 200


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _import_times(file: Path) -> dict[str, float]:
    """Reading and building, in seconds; the second time, when everything is compiled."""
    told: dict[str, float] = {}
    for _ in range(2):
        marks = [time.perf_counter()]
        reading_s = 0.0

        def progress(share: float, marks: list[float] = marks) -> None:
            if share == 0.8:
                marks.append(time.perf_counter())

        table = read_import(file, volume_types=VOLUME_TYPES, periods=PERIODS, progress=progress)
        read_s = time.perf_counter()
        reading_s = marks[-1] - marks[0]
        peak_gb = _peak_gb()
        tree = Tree.from_table(table, rules_of(VOLUME_TYPES, PERIODS), 1, 0)
        told = {
            "read_rows_s": reading_s,
            "check_links_s": read_s - marks[-1],
            "build_s": time.perf_counter() - read_s,
            "reader_peak_gb": peak_gb,
            "peak_gb": _peak_gb(),
        }
        del table, tree
    return told


def _orders_per_s(tree: Tree, ids: NDArray[np.bytes_], random: np.random.Generator) -> float:
    """Median over batches of arrays."""
    rates, slots = [], np.zeros(_BATCH, np.int32)
    for _ in range(_BATCHES):
        picked = ids[random.integers(0, len(ids), _BATCH)]
        amounts = random.integers(1, 20_000, _BATCH)
        begin = time.perf_counter()
        taken = int(post_volumes(tree.store, words_of(picked), slots, amounts, 0, 1))
        rates.append(taken / (time.perf_counter() - begin))
        if taken != _BATCH:
            raise RuntimeError(f"only {taken} of {_BATCH} orders were taken")
    return statistics.median(rates)


def _order_messages_per_s(tree: Tree, ids: NDArray[np.bytes_], random: np.random.Generator) -> float:
    """Median over batches of decoded messages, as a node applies them."""
    rates = []
    for batch in range(_BATCHES // 4):
        updates = [
            types_pb2.Update(
                update_id=f"o{batch}-{place}",
                volume_posted=types_pb2.VolumePosted(member_id=ids[row].decode(), amount_hundredths=100 + place),
            )
            for place, row in enumerate(random.integers(0, len(ids), _BATCH))
        ]
        begin = time.perf_counter()
        not_applied = tree.apply(tree.position + 1, updates)
        rates.append(_BATCH / (time.perf_counter() - begin))
        if not_applied:
            raise RuntimeError(f"an order was not applied: {not_applied[0]}")
    return statistics.median(rates)


def _enrolments_per_s(tree: Tree, ids: NDArray[np.bytes_], random: np.random.Generator) -> float:
    """Median over batches of arrays; each new member below one of before or of the batch before."""
    rates = []
    for batch in range(_BATCHES):
        fresh = np.array([f"N{batch * _BATCH + place}" for place in range(_BATCH)], dtype="S12")
        sponsors = ids[random.integers(0, len(ids), _BATCH)].astype("S12")
        begin = time.perf_counter()
        taken = _enrol(tree, fresh, sponsors)
        rates.append(taken / (time.perf_counter() - begin))
        if taken != _BATCH:
            raise RuntimeError(f"only {taken} of {_BATCH} enrolments were taken")
    return statistics.median(rates)


def _text_enrolments_per_s(tree: Tree, ids: NDArray[np.bytes_], random: np.random.Generator) -> float:
    """Median over batches of decoded messages, as a node applies them, with three new texts each."""
    rates = []
    for batch in range(_BATCHES // 4):
        updates = [
            types_pb2.Update(
                update_id=f"e{batch}-{place}",
                member_enrolled=types_pb2.MemberEnrolled(
                    member_id=f"T{batch * _BATCH + place}",
                    sponsor_id=ids[row].decode(),
                    columns={
                        "name": f"Inès Ferreira-{batch}-{place}",
                        "email": f"ines.{batch}.{place}@mail.example",
                        "phone": f"+41 79 {batch:04} {place:04}",
                    },
                ),
            )
            for place, row in enumerate(random.integers(0, len(ids), _BATCH).tolist())
        ]
        encoded = [types_pb2.Update.FromString(update.SerializeToString()) for update in updates]
        begin = time.perf_counter()
        not_applied = tree.apply(tree.position + 1, encoded)
        rates.append(_BATCH / (time.perf_counter() - begin))
        if not_applied:
            raise RuntimeError(f"an enrolment was not applied: {not_applied[0]}")
    return statistics.median(rates)


def _enrol(tree: Tree, ids: NDArray[np.bytes_], sponsors: NDArray[np.bytes_]) -> int:
    """Distributors without a placement, below the sponsors: how many were taken."""
    count, asked = len(ids), words_of(ids)
    tree.ensure_capacity(count, asked)
    profile = np.array([[DISTRIBUTOR, tree.status_code(""), 0, NO_DAY]], dtype=np.int32).repeat(count, axis=0)
    nowhere, legs, rows = np.zeros((count, 1), np.uint32), np.zeros(count, np.int32), np.empty(count, np.int32)
    return int(enrol_members(tree.store, asked, words_of(sponsors), nowhere, legs, profile, rows, 0, 1))


def main() -> int:
    """Measures the file that is named."""
    file = Path(sys.argv[1])
    figures = _import_times(file)
    table = read_import(file, volume_types=VOLUME_TYPES, periods=PERIODS)
    ids = table.member_ids
    tree = Tree.from_table(table, rules_of(VOLUME_TYPES, PERIODS), 1, 0)
    random = np.random.default_rng(5)
    _orders_per_s(tree, ids, random)
    figures["orders_per_s"] = _orders_per_s(tree, ids, random)
    figures["order_messages_per_s"] = _order_messages_per_s(tree, ids, random)
    figures["enrolments_per_s"] = _enrolments_per_s(tree, ids, random)
    if "email" in tree.further:
        figures["text_enrolments_per_s"] = _text_enrolments_per_s(tree, ids, random)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
