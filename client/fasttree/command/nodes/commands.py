"""`fasttree node`: the nodes there are, one more in the host file, one less."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import click

from fasttree.client import CallError, Client, UnavailableError
from fasttree.client.status.nodes import NodeJson, node_json
from fasttree.command.nodes.host_file import add_host, remove_host
from fasttree.command.nodes.local import add_local, local_folder, remove_local
from fasttree.command.output import print_json, print_table
from fasttree.command.ranges import PORT
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.status.looking import status_client
from fasttree.v1 import coordinator_pb2, pusher_pb2

_POLL_S = 0.1
_ALONE = "there is one node now: nobody takes its place when it fails"

_hosts_option = click.option(
    "--hosts",
    "hosts_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The host file that cluster.hosts_file names for coordinator and pusher.",
)


class ListedNodeJson(NodeJson):
    """A node, and its line of the host file; empty: it has none."""

    host: str
    may_be_primary: bool


class NodesJson(TypedDict):
    """The host file that the coordinator goes by, and every node that is known or in it."""

    hosts: list[str]
    nodes: list[ListedNodeJson]


class NodeChangedJson(TypedDict):
    """What was done, and what is left to do by hand."""

    done: str
    left: list[str]


@click.group()
def node() -> None:
    """The nodes of the cluster: which there are, one more, one less."""


@node.command("list")
@prints(NodesJson)
@common_options
def list_nodes(session: Session) -> None:
    """Every node that is known or in the host file: where it is found, how it stands, whether it may be primary."""
    view, pusher = run(_look(session))
    end = pusher.log_end.position if pusher is not None else None
    rows: list[ListedNodeJson] = [
        {**node_json(each, end), "host": each.host, "may_be_primary": True} for each in view.nodes
    ]
    heard = {each.host for each in view.nodes}
    rows += [_unheard_json(host) for host in view.hosts if host not in heard]
    for row in rows:
        row["may_be_primary"] = not view.hosts or bool(row["host"])
    if session.json:
        print_json(NodesJson(hosts=list(view.hosts), nodes=rows))
        return
    columns = ["node", "role", "state", "import_id", "position", "lag", "report", "instant", "host"]
    cells_of: list[Mapping[str, Any]] = [*rows]
    shown = [["" if row[name] is None else row[name] for name in columns[:-1]] for row in cells_of]
    hosts = [row["host"] or ("not in the file: never primary" if view.hosts else "no file") for row in rows]
    print_table(
        [*columns[:3], "import", *columns[4:]], [[*cells, host] for cells, host in zip(shown, hosts, strict=True)]
    )


def _unheard_json(host: str) -> ListedNodeJson:
    """A line of the host file from which nobody was ever heard."""
    return {
        "node": "", "role": "", "state": "never heard", "import_id": None, "position": None, "lag": None,
        "alive": False, "report": host, "instant": "", "host": host, "may_be_primary": True,
    }  # fmt: skip


@node.command()
@prints(NodeChangedJson)
@click.argument("host", metavar="[HOST", required=False)
@click.argument("report_port", type=PORT, metavar="REPORT-PORT", required=False)
@click.argument("instant_port", type=PORT, metavar="INSTANT-PORT]", required=False)
@_hosts_option
@common_options
def add(
    session: Session, host: str | None, report_port: int | None, instant_port: int | None, hosts_file: Path | None
) -> None:
    """One more node: a line in the host file, and what is left to do.

    Done once coordinator and pusher go by the new line. The node itself may be started before or after. In a cluster
    of `fasttree up` it takes no arguments, and starts the node.
    """
    if (home := local_folder(session)) is not None:
        if host is not None or hosts_file is not None:
            raise click.UsageError("this cluster is one of `fasttree up`, which gives its nodes their names and ports")
        _print(session, f"{run(add_local(session, home))} is ready", [])
        return
    if instant_port is None or hosts_file is None:
        raise click.UsageError("name the node as HOST REPORT-PORT INSTANT-PORT, and the host file with --hosts FILE")
    added = add_host(hosts_file, f"{host} {report_port} {instant_port}")
    view = run(
        _until_taken(
            session,
            hosts_file,
            lambda view: added.report_address in view.hosts,
            lambda pusher: added.instant_address in pusher.hosts,
        )
    )
    seen = next((each for each in view.nodes if each.host == added.report_address and each.alive), None)
    left = [] if seen is not None else [f"start the node on {host}: docs/operations.md, `Add a node`"]
    left += [
        f"the VIP: {added.report_address} among its nodes (deploy/), then reload it; until then no report gets there",
        "the endpoints file of this command: the node's name and ports",
    ]
    who = f" ({seen.address.name})" if seen is not None else ""
    _print(session, f"{added.report_address}{who} is in {hosts_file}; coordinator and pusher go by it", left)


@node.command()
@prints(NodeChangedJson)
@click.argument("node_name", metavar="NODE|HOST:REPORT-PORT")
@_hosts_option
@common_options
def remove(session: Session, node_name: str, hosts_file: Path | None) -> None:
    """One node less: its line leaves the host file. It can't be primary from then on; then it may be ended.

    The primary is refused: make another one primary first, by `fasttree switchover`.
    """
    if (home := local_folder(session)) is not None:
        if hosts_file is not None:
            raise click.UsageError(
                "this cluster is one of `fasttree up`, which has its own host file: leave out --hosts"
            )
        run(remove_local(session, home, node_name))
        alone = [_ALONE] * (len(home.read_nodes()) == 1)
        _print(session, f"{node_name} has ended; its state stays in {home.state(node_name)}", alone)
        return
    if hosts_file is None:
        raise click.UsageError("name the host file with --hosts FILE")
    view, _ = run(_look(session))
    found = next((each for each in view.nodes if node_name in (each.address.name, each.host)), None)
    if found is not None and found.address.name == view.primary:
        raise CommandError(f"{view.primary} is primary: `fasttree switchover` first; nothing was changed")
    if found is not None and not found.host:
        raise CommandError(
            f"{node_name} is not in the host file that the coordinator goes by: end its process, that is all"
        )
    address = found.host if found is not None else node_name
    removed = remove_host(hosts_file, address)
    run(
        _until_taken(
            session,
            hosts_file,
            lambda view: removed.report_address not in view.hosts,
            lambda pusher: removed.instant_address not in pusher.hosts,
        )
    )
    left = [
        f"the VIP: {removed.report_address} out of its nodes (deploy/), then reload it",
        "end the node's process, and keep it from being started again",
        "the endpoints file of this command",
    ]
    left += [_ALONE] * (len(view.hosts) == 2)
    _print(session, f"{removed.report_address} is out of {hosts_file}; it can't be primary any more", left)


def _print(session: Session, done: str, left: list[str]) -> None:
    if session.json:
        print_json(NodeChangedJson(done=done, left=left))
        return
    click.echo(done)
    for each in left:
        click.echo(f"left to do: {each}")


async def _look(session: Session) -> tuple[coordinator_pb2.Cluster, pusher_pb2.GetPusherResponse | None]:
    """What the coordinator says, who has to; and the pusher, if it can."""
    async with status_client(session) as client:
        view = await client.get_cluster()
        try:
            return view, await client.get_pusher()
        except CallError as error:
            click.echo(f"pusher: {error}", err=True)
            return view, None


async def _until_taken(
    session: Session,
    hosts_file: Path,
    in_view: Callable[[coordinator_pb2.Cluster], bool],
    at_pusher: Callable[[pusher_pb2.GetPusherResponse], bool],
) -> coordinator_pb2.Cluster:
    """Until coordinator and pusher go by the changed file."""
    deadline = time.monotonic() + session.timeout_s
    async with session.client() as client:
        while True:
            waits_for, view = await _waits_for(client, in_view, at_pusher)
            if not waits_for and view is not None:
                return view
            if time.monotonic() >= deadline:
                who = " and ".join(waits_for)
                raise CommandError(
                    f"{hosts_file} is changed, and after {session.timeout_s:g} s not taken by {who}: does "
                    "it name this file as cluster.hosts_file? Its log says what is wrong with it"
                )
            await asyncio.sleep(_POLL_S)


async def _waits_for(
    client: Client,
    in_view: Callable[[coordinator_pb2.Cluster], bool],
    at_pusher: Callable[[pusher_pb2.GetPusherResponse], bool],
) -> tuple[list[str], coordinator_pb2.Cluster | None]:
    view, pusher = None, None
    try:
        view = await client.get_cluster()
        pusher = await client.get_pusher()
    except UnavailableError as error:
        return [f"{'coordinator' if view is None else 'pusher'} ({error})"], view
    waits_for = ["the coordinator"] * (not in_view(view)) + ["the pusher"] * (not at_pusher(pusher))
    return waits_for, view
