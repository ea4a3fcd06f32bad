"""What nodes said last of an import, where that is lost."""

from __future__ import annotations

from pathlib import Path

from fasttree.v1 import treenode_pb2
from services.pusher.imports.events import ImportPlace
from tests.fakes.node import FakeNode
from tests.pusher.imports.test_imports import connected, ended, upload
from tests.pusher.imports.test_imports import nodes as nodes
from tests.pusher.running_pusher import running_pusher, stub_of
from tests.waiting import until


async def test_what_a_node_stands_in_is_done_there_though_its_last_word_was_lost(
    tmp_path: Path, nodes: list[FakeNode]
) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await connected(pusher)
        await upload(stub)
        await ended(stub)
        cut = treenode_pb2.LoadImportResponse(phase=treenode_pb2.IMPORT_PHASE_DOWNLOADING, reason="UNAVAILABLE: cut")
        pusher.catalog.set_progress(1, nodes[0].address, "one", cut)
        await pusher.catalog.set_place(1, ImportPlace.DONE)  # recorded with it
    async with running_pusher(tmp_path, nodes) as pusher:
        await connected(pusher)

        def said() -> dict[str, tuple[int, str]]:
            return {each.node: (each.progress.phase, each.progress.reason) for each in pusher.catalog.status(1).nodes}

        done = (treenode_pb2.IMPORT_PHASE_DONE, "")
        await until(lambda: said() == {"one": done, "two": done}, "the nodes' own word")
