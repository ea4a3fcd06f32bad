"""A tree laid out anew is the same tree, whatever came while it was laid out."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tests.fakes.pusher import fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.running_node import running_node
from tests.updates import enrolled, moved, posted


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
        old = runner.held_tree
        relayout = asyncio.create_task(node.relayout.run_once())
        while not relayout.done():
            pusher.updates.append(posted(f"O-{len(pusher.updates)}", f"M{len(pusher.updates) % members}"))
            await stream.send([len(pusher.updates)])
        await relayout
        assert runner.held_tree is not old
        assert runner.held_tree.change_count < old.change_count
        pusher.updates.append(posted("last", "M5"))
        answer = await stream.send([len(pusher.updates)])
        assert answer.applied_position == len(pusher.updates)
        runner.held_tree.validate()
        again = type(old).empty(runner.tree_config)
        for position, update in enumerate(pusher.updates, 1):
            again.apply(position, [update])
        assert runner.held_tree.digest == again.digest
        assert runner.held_tree.digest_at(1) == again.digest_at(1)


async def test_a_tree_that_the_log_can_not_bring_up_is_given_up(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        await stream.hello()
        pusher.updates = [enrolled("A"), posted("O-1", "A")]
        await stream.send([1])
        copied = asyncio.Event()
        following_copy = node.runner.gate.read

        async def read_then_apply(work: Callable[[], Any]) -> Any:
            found = await following_copy(work)
            await stream.send([2])
            pusher.first_position = 3
            copied.set()
            return found

        node.runner.gate.read = read_then_apply  # type: ignore[method-assign]
        old = node.runner.held_tree
        with pytest.raises(grpc.aio.AioRpcError, match="not in the log"):
            await node.relayout.run_once()
        assert copied.is_set()
        assert node.runner.held_tree is old
        assert node.runner.applying.is_set()
