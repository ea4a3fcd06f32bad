"""The demo's first import, and what to try after it."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from fasttree.client import Client, Endpoints
from fasttree.command.local.sample import MEMBERS, sample_csv
from fasttree.command.processes import python_command
from fasttree.command.session import DEFAULT_PLACES, CommandError
from fasttree.v1 import pusher_pb2

#: A node that is not back after ten seconds is shown by `fasttree status`; the demo starts all the same.
_TOLD_TRIES = 200
_TRY_NEXT = """\
In another terminal, in this folder:
  {program} status
  {program} frontline 10000
  {program} downline 10420 --levels 2
`{program} --help` lists the others. Ctrl-C here ends the cluster; the same command starts it again where it was."""


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


def _program(endpoints: Path) -> str:
    """What to type in another terminal to run this command there, of this cluster."""
    started_as = Path(sys.argv[0])
    found = shutil.which("fasttree")
    if found is not None and started_as.exists() and Path(found).samefile(started_as):
        program = "fasttree"
    elif started_as.name == "fasttree":
        program = os.path.relpath(started_as)
    else:
        program = shlex.join(python_command("fasttree.command"))
    found_by_itself = endpoints in (place.absolute() for place in DEFAULT_PLACES)
    return program if found_by_itself else f"{program} --endpoints {shlex.quote(str(endpoints))}"


def try_next(endpoints: Path) -> str:
    """What to type in another terminal, which has no checkout beside it for certain."""
    return _TRY_NEXT.format(program=_program(endpoints))
