"""The demo's first import."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fasttree.client import Client, Endpoints
from fasttree.command.local.sample import MEMBERS, sample_csv
from fasttree.command.session import CommandError
from fasttree.v1 import pusher_pb2

#: A node that is not back after ten seconds is shown by `fasttree status`; the demo starts all the same.
_TOLD_TRIES = 200


async def import_sample(endpoints: Endpoints, folder: Path, say: Callable[[str], None]) -> None:
    """Imports the sample tree on every node, unless the cluster has had an import already."""
    async with Client(endpoints) as client:
        if (await client.get_pusher()).imports:
            return
        manifest = await client.upload_import(await asyncio.to_thread(_write, folder))
        steps = [status async for status in client.watch_import(manifest.import_id)]
        status = steps[-1]
        if status.state != pusher_pb2.IMPORT_STATE_DONE:
            reasons = "; ".join(node.progress.reason for node in status.nodes if node.progress.reason)
            raise CommandError(f"the sample tree was not taken ({reasons}); logs: {folder.parent / 'logs'}")
        # A node that took a peer's snapshot instead tells the pusher so a moment later.
        for _ in range(_TOLD_TRIES):
            if all(node.import_id >= manifest.import_id for node in (await client.get_pusher()).nodes):
                break
            await asyncio.sleep(0.05)
        say(f"imported a sample tree of {MEMBERS} members")


def _write(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "members.csv"
    path.write_text(sample_csv(), encoding="utf-8")
    return path
