"""Commands on the cluster: status, switchover, pause, resume, follow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import click

from fasttree.client import CallError, Client, EndpointsError, UnavailableError, update_to_json
from fasttree.client.status.cluster import status_json
from fasttree.client.status.nodes import named_json
from fasttree.client.status.problems import problems_of
from fasttree.client.status.words import state_word
from fasttree.command.cluster.log_status import log_lines
from fasttree.command.cluster.pushers import pusher_lines
from fasttree.command.output import print_json, print_json_line, print_table
from fasttree.command.processes import last_words
from fasttree.command.ranges import COUNT, POSITION
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.v1 import coordinator_pb2, pusher_pb2, types_pb2

#: Status is asked in trouble too: a part that is away should not hold the answer up for long.
STATUS_TIMEOUT_S = 3.0


@click.command()
@common_options
def status(session: Session) -> None:
    """Nodes with role, state, epoch, import, position and lag; the log; imports."""
    view, pusher, problems = run(_look(session))
    content = status_json(view, pusher)
    if view is None and pusher is None:
        content["nodes"] = [named_json(node) for node in session.endpoints().nodes]
    problems += [problem.text for problem in problems_of(content) if problem.fault]
    if session.json:
        print_json({**content, "problems": problems})
    else:
        _print_status(content, view is not None, pusher is not None)
    if problems:
        raise CommandError("; ".join(problems))


async def _look(
    session: Session,
) -> tuple[coordinator_pb2.Cluster | None, pusher_pb2.GetPusherResponse | None, list[str]]:
    """What coordinator and pusher say, and what is wrong with one that does not answer."""
    problems: list[str] = []
    async with session.client(timeout_s=min(session.timeout_s, STATUS_TIMEOUT_S)) as client:
        answers = await asyncio.gather(client.get_cluster(), client.get_pusher(), return_exceptions=True)
    for part, answer in zip(("coordinator", "pusher"), answers, strict=True):
        if isinstance(answer, (CallError, EndpointsError)):
            problems.append(f"{part}: {answer}{last_words(session.endpoints_file().parent, part)}")
        elif isinstance(answer, BaseException):
            raise answer
    view, pusher = (None if isinstance(answer, BaseException) else answer for answer in answers)
    return view, pusher, problems  # type: ignore[return-value]  # gather's two types, told apart above


def _print_status(content: dict[str, Any], has_view: bool, has_pusher: bool) -> None:
    title = content["cluster"] or "cluster unknown"
    if has_view:
        title += f" · epoch {content['epoch']} · primary {content['primary'] or 'none'}"
        title += " · paused" if content["paused"] else ""
    if has_pusher:
        title += f" · log at {content['log']['position']}" if content["log"]["log_id"] else " · no log"
    click.echo(title)
    columns = ["node", "role", "state", "epoch", "import", "position", "lag"]
    rows = []
    for node in content["nodes"]:
        state = node["state"]
        if node.get("halted_before"):
            state += " (halted)"
        if node.get("loading_import_id"):
            state += f" (import {node['loading_import_id']}: {node['loading_percent']} %)"
        figures = ["" if node[name] is None else node[name] for name in ("import_id", "position", "lag")]
        rows.append([node["node"], node["role"], state, node["epoch"] or "", *figures])
    print_table(columns, rows)
    for node in content["nodes"]:
        if node.get("note"):
            mend = f"; see docs/operations.md, `A node has halted`, or fasttree log skip {node['fault_position']}"
            click.echo(f"{node['node']}: {node['note']}" + (mend if node.get("fault_position") else ""))
    for line in log_lines(content["log"]) if has_pusher else ():
        click.echo(line)
    for line in pusher_lines(content["pushers"]):
        click.echo(line)
    if content["note"]:
        click.echo(f"note: {content['note']}")
    for entry in content["imports"][:3]:
        done = ", ".join(
            f"{node['node']} {node['phase'] if node['phase'] in ('done', 'refused') else _phase(node)}"
            for node in entry["nodes"]
        )
        reasons = [node["reason"].removeprefix("import refused: ") for node in entry["nodes"] if node["reason"]]
        reason = f": {reasons[0]}" if reasons else ""
        click.echo(
            f"import {entry['import_id']} {entry['file_name']}: {entry['state']} ({done or 'no node yet'}){reason}"
        )


def _phase(node: dict[str, Any]) -> str:
    return f"{node['phase']} {node['percent']} %"


@click.command()
@click.option("--from", "first_position", type=POSITION, help="First update shown; new ones only if not given.")
@click.option("--count", type=COUNT, help="Ends after so many lines.")
@common_options
def follow(session: Session, first_position: int | None, count: int | None) -> None:
    """Updates as they enter the log, and changes of the cluster, line by line until Ctrl-C."""

    async def body() -> None:
        shown = 0
        async with session.client() as client, contextlib.aclosing(_events(client, first_position)) as events:
            async for event in events:
                _print_event(event, as_json=session.json)
                shown += 1
                if shown == count:
                    return

    run(body())


def _print_event(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json_line(event)
    elif event["event"] == "update":
        click.echo(f"{event['position']:>8}  {json.dumps(event['update'], ensure_ascii=False)}")
    else:
        click.echo(f"{'cluster':>8}  {event['text']}")


async def _events(client: Client, first_position: int | None) -> AsyncGenerator[dict[str, Any], None]:
    """Updates and changes of the cluster, as they come."""
    queue: asyncio.Queue[dict[str, Any] | BaseException] = asyncio.Queue(1_000)

    async def pump(source: AsyncIterator[dict[str, Any]]) -> None:
        try:
            async for event in source:
                await queue.put(event)
        except Exception as error:
            await queue.put(error)

    # Who is not there at the beginning is told; who goes later is waited for.
    end = (await client.get_pusher()).log_end
    if first_position is None:
        first_position = end.position + 1
    tasks = [
        asyncio.create_task(pump(_update_events(client, first_position))),
        asyncio.create_task(pump(_cluster_events(client))),
    ]
    try:
        while True:
            event = await queue.get()
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _update_events(client: Client, position: int) -> AsyncIterator[dict[str, Any]]:
    """The log from a position on and on; a pusher that is away is waited for."""
    away_since: float | None = None
    while True:
        try:
            async for record in client.read_log(position):
                away_since = None
                update = types_pb2.Update.FromString(record.update)
                yield {"event": "update", "position": record.position, "update": json.loads(update_to_json(update))}
                position = record.position + 1
        except UnavailableError as error:
            if away_since is None:
                away_since = time.monotonic()
                yield {"event": "cluster", "text": f"the pusher does not answer; waiting ({error})"}
        await asyncio.sleep(0.5)


async def _cluster_events(client: Client) -> AsyncIterator[dict[str, Any]]:
    """A line for each change of primary, epoch, pause, or a node's state."""
    before: dict[str, str] = {}
    async for view in client.watch_cluster():
        now = {node.address.name: state_word(node) for node in view.nodes}
        now["primary"] = f"{view.primary or 'none'} (epoch {view.epoch}{', paused' if view.paused else ''})"
        for key, value in now.items():
            if before.get(key) != value:
                yield {"event": "cluster", "subject": key, "value": value, "text": f"{key}: {value}"}
        before = now
