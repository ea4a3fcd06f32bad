"""A node more or less in a cluster of `fasttree up`: a file in its folder says which there are, and it follows that."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import click

from fasttree.client import CallError, Client
from fasttree.command.local.cluster_folder import NODES_MAX, ClusterFolder, node_names
from fasttree.command.machines.asking import MachineFiles
from fasttree.command.output import Progress
from fasttree.command.session import CommandError, Session
from fasttree.v1 import coordinator_pb2

_POLL_S = 0.1
#: A node has to start, and to load a tree.
_PATIENCE_S = 120.0
_READY = (coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY)


def local_folder(session: Session) -> ClusterFolder | None:
    """That of the cluster, where it is one of `fasttree up` that runs on this machine."""
    process = session.endpoints().pids.get("up", 0)
    return ClusterFolder(session.endpoints_file().parent) if process and os.path.exists(f"/proc/{process}") else None


def _refuse_machines(home: ClusterFolder) -> None:
    if MachineFiles(home.path).states() is not None:
        raise CommandError("the nodes of this cluster are its machines': see `fasttree machine`")


async def add_local(session: Session, home: ClusterFolder) -> str:
    """Returns its name, once it is ready. One that was broken off is finished. Raises CommandError."""
    _refuse_machines(home)
    names = home.read_nodes()

    async def is_ready(client: Client, name: str) -> bool:
        nodes = {node.address.name: node for node in (await client.get_cluster()).nodes}
        listed = name in {node.name for node in session.endpoints().nodes}
        return listed and name in nodes and nodes[name].alive and nodes[name].status.state in _READY

    async with session.client() as client:
        begun = bool(names) and not await is_ready(client, names[-1])
    if not begun and len(names) >= NODES_MAX:
        raise CommandError(f"there are {NODES_MAX} nodes, the most that one machine has")
    name = names[-1] if begun else next(one for one in node_names(NODES_MAX) if one not in names)
    if not begun:
        home.write_nodes([*names, name])
    Progress(quiet=session.json).line(f"{name} starts, and takes a tree; it is ready after that")
    try:
        await _until(
            session,
            lambda client: is_ready(client, name),
            f"{name} is not ready; `fasttree logs {name}` says what it does",
        )
    except asyncio.CancelledError:
        click.echo(f"interrupted; {name} starts all the same: `fasttree node remove {name}` ends it", err=True)
        raise
    return name


async def remove_local(session: Session, home: ClusterFolder, name: str) -> None:
    """Returns once it has ended. Raises CommandError; the primary is refused."""
    _refuse_machines(home)
    names = home.read_nodes()
    if name not in names:
        raise CommandError(f"no node {name}; there are: {', '.join(names)}")
    if len(names) == 1:
        raise CommandError(f"{name} is the only node: nobody would answer reports without it")
    async with session.client() as client:
        if (await client.get_cluster()).primary == name:
            raise CommandError(f"{name} is primary: `fasttree switchover` first; nothing was changed")
    home.write_nodes([one for one in names if one != name])

    async def is_gone(client: Client) -> bool:
        return name not in {node.name for node in session.endpoints().nodes}

    try:
        await _until(session, is_gone, f"{name} has not ended; the terminal of `fasttree up` says why")
    except asyncio.CancelledError:
        click.echo(f"interrupted; {name} ends all the same", err=True)
        raise


async def _until(session: Session, condition: Callable[[Client], Awaitable[bool]], problem: str) -> None:
    deadline = time.monotonic() + max(session.timeout_s, _PATIENCE_S)
    async with session.client() as client:
        while time.monotonic() < deadline:
            try:
                if await condition(client):
                    return
            except CallError as error:
                problem += f" ({error})" * (str(error) not in problem)
            await asyncio.sleep(_POLL_S)
    raise CommandError(problem)
