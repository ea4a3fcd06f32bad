"""A copy of a cluster stores where the cluster does: its log has the same id, and other updates."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from fasttree.v1 import coordinator_pb2
from services.shared.objects.opening import open_objects
from services.treenode.node.sequence_events import LogEnd
from services.treenode.snapshots.stored.keeping import StoredKeeping
from services.treenode.snapshots.stored.objects import StoredSnapshots
from services.treenode.snapshots.stored.settings import SnapshotStoreSettings

LOG = "log-1"


async def test_a_snapshot_of_updates_that_the_log_does_not_have_is_told_and_a_late_word_is_not(tmp_path: Path) -> None:
    settings = SnapshotStoreSettings(snapshot_folder=str(tmp_path))
    objects = open_objects(settings.place, "company")
    assert objects is not None
    stored = StoredSnapshots(objects, 1_000, 1, 3)
    sequence = SimpleNamespace(log_id=LOG, log_end=LogEnd(1, 100, 1, 1_000.0))
    node = SimpleNamespace(core=SimpleNamespace(sequence=sequence), stored=coordinator_pb2.StoredSnapshot())
    own = SimpleNamespace(find=lambda _import_id, _position: None)
    keeping = StoredKeeping(cast("Any", node), cast("Any", own), cast("Any", own), stored, settings)
    (tmp_path / "snapshot").write_bytes(b"x")

    async def put(position: int) -> None:
        state = {"log_id": LOG, "import_id": 1, "position": position, "node": "n1"}
        await stored.put(state, tmp_path / "snapshot", hashlib.sha256(b"x").digest())

    async def told(end: int, sent_at_s: float) -> str:
        sequence.log_end = LogEnd(1, end, 1, sent_at_s)
        await keeping.look()
        return str(node.stored.problem)

    await put(150)
    # The word of the log's end may have been on its way when another node stored what came after.
    for sent_at_s in (1_000.0, 1_000.0, 1_001.0, 1_009.0):
        assert await told(100, sent_at_s) == ""
    assert await told(150, 1_009.5) == ""
    await put(500)
    assert await told(160, 1_010.0) == ""
    said = await told(161, 1_020.0)
    assert f"{tmp_path}, has one of position 500, and the log ends at 161: another cluster of this name" in said
    assert node.stored.position == 500
    # Gone once the log is as far, or the place another.
    assert await told(500, 1_021.0) == ""
