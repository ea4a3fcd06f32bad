"""A node with keys stores what is in its snapshot: one with other keys starts from it, and seals it by its own."""

from __future__ import annotations

from pathlib import Path

from services.shared.files.sealed.own import keys_for_now
from services.shared.files.sealed.survey import survey
from tests.fakes.pusher import fake_pusher
from tests.shared.files.sealed.own_keys import keys
from tests.treenode.running_node import running_node
from tests.treenode.snapshots.stored.test_stored_snapshots import looks, starts, store


async def test_one_with_other_keys_starts_from_what_was_stored(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    given = {"snapshot_folder": str(tmp_path / "mount")}
    async with fake_pusher() as pusher:
        with keys_for_now(keys("one")):
            digest = await store(given, tmp_path, pusher, 60)
            assert set(survey(tmp_path / "of-60").sealed) == {"one"}
        pusher.first_position = 50
        with keys_for_now(keys("two")):
            async with running_node(tmp_path / "new", **looks(**given)) as node:
                await starts(node, pusher, 60)
                assert node.runner.in_force.tree.digest == digest
                found = survey(tmp_path / "new")
                assert (found.sealed, found.clear) == ({"two": 1}, [])
