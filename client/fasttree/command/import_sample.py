"""The demo's first import."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fasttree.client import Client, Endpoints
from fasttree.command.sample import MEMBERS, sample_csv
from fasttree.command.session import CommandError
from fasttree.v1 import pusher_pb2


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
        say(f"imported a sample tree of {MEMBERS} members")


def _write(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "members.csv"
    path.write_text(sample_csv(), encoding="utf-8")
    return path
