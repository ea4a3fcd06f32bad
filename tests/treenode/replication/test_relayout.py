"""A tree laid out anew is the same tree, whatever came while it was laid out."""

import asyncio
from pathlib import Path

import pytest

from services.shared.serving.errors import UnavailableError
from tests.fakes.pusher import FOUNDING, fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.running_node import running_node
from tests.updates import enrolled, moved, posted
from tests.waiting import WAIT_S


async def test_updates_go_on_while_the_tree_is_laid_out_anew(tmp_path: Path) -> None:
    async with (
        fake_pusher() as pusher,
        running_node(tmp_path, relayout_changes_min=100, relayout_changed_percent=0.0) as node,
        Stream(node, pusher) as stream,
    ):
        runner = node.runner
        await stream.hello()
        assert not node.relayout.due()
        members = 600
        pusher.updates = [enrolled(f"M{number}", f"M{number // 2}" if number else "") for number in range(members)]
        pusher.updates += [moved(f"V{number}", f"M{number}", "M0") for number in range(members // 2, members, 3)]
        await stream.send(range(1, len(pusher.updates) + 1))
        assert node.relayout.due()
        old = runner.in_force.tree
        relayout = asyncio.create_task(node.relayout.run_once())
        while not relayout.done():
            pusher.updates.append(posted(f"O-{len(pusher.updates)}", f"M{len(pusher.updates) % members}"))
            await stream.send([len(pusher.updates)])
        await relayout
        assert runner.in_force.tree is not old
        assert runner.in_force.tree.change_count < old.change_count
        pusher.updates.append(posted("last", "M5"))
        answer = await stream.send([len(pusher.updates)])
        assert answer.applied_position == len(pusher.updates)
        runner.in_force.tree.validate()
        again = type(old).empty(FOUNDING)
        for position, update in enumerate(pusher.updates, 1):
            again.apply(position, [update])
        assert runner.in_force.tree.digest == again.digest
        assert runner.in_force.tree.digest_at(1) == again.digest_at(1)


async def test_a_tree_that_the_log_can_not_bring_up_is_given_up(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        pusher.updates = [enrolled("A")]
        await stream.send([1])
        async with asyncio.timeout(WAIT_S):
            # Until an update comes between the copy and its end: with none, it has all there is, and takes its place.
            while True:
                old = node.runner.in_force.tree
                pusher.damaged_position = len(pusher.updates) + 1
                relayout = asyncio.create_task(node.relayout.run_once())
                while not relayout.done():
                    pusher.updates.append(posted(f"O-{len(pusher.updates)}", "A"))
                    await stream.send([len(pusher.updates)])
                if relayout.exception() is not None:
                    break
        with pytest.raises(UnavailableError, match="its checksum is wrong"):
            await relayout
        assert node.runner.in_force.tree is old
        assert node.runner.applying.is_set()
        pusher.updates.append(posted("last", "A"))
        assert (await stream.send([len(pusher.updates)])).applied_position == len(pusher.updates)
