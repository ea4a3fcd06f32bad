"""A node that serves an import which the pusher never gave is told to whoever asks."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import aiohttp
import pytest

from fasttree.v1 import pusher_pb2
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import running_pusher, stub_of
from tests.waiting import until


async def test_an_import_of_somebody_else_is_an_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given, strange = await FakeNode("given").start(), await FakeNode("strange").start()
    async with running_pusher(tmp_path, [given, strange]) as pusher, stub_of(pusher) as stub:

        async def told() -> dict[str, bool]:
            nodes = (await stub.GetPusher(pusher_pb2.GetPusherRequest())).nodes
            return {node.node: node.import_unknown for node in nodes if node.connected}

        async def both_are_named() -> bool:
            return await told() == {"given": False, "strange": False}

        async def one_is_strange() -> bool:
            return await told() == {"given": False, "strange": True}

        await until(both_are_named, "both streams")
        await strange.stop()
        strange.import_id = 2**63 + 5
        await strange.start()
        with caplog.at_level(logging.ERROR):
            await until(one_is_strange, "the alarm")
        assert f"strange serves import {2**63 + 5}, which this pusher never gave to anybody" in caplog.text
        async with aiohttp.ClientSession(f"http://127.0.0.1:{pusher.http.port}") as http:
            figures = await (await http.get("/metrics")).text()
        found = re.findall(r"^fasttree_pusher_node_import_unknown\{.*?node=\"(\w+)\".*\} (\S+)$", figures, re.MULTILINE)
        assert sorted(found) == [("given", "0.0"), ("strange", "1.0")]
    await given.stop()
    await strange.stop()
