"""`fasttree follow`: what happens in the cluster, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal, NotRequired, TypedDict

import click

from fasttree.client import Client, UnavailableError, update_to_json
from fasttree.client.status.words import state_word
from fasttree.command.output import print_json_line
from fasttree.command.ranges import COUNT, POSITION
from fasttree.command.session import Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import types_pb2


class UpdateEventJson(TypedDict):
    """An update that entered the log."""

    event: Literal["update"]
    position: int
    update: dict[str, Any]


class ClusterEventJson(TypedDict):
    """What changed in the cluster: `subject`, a node or "primary", is `value` now."""

    event: Literal["cluster"]
    text: str
    subject: NotRequired[str]
    value: NotRequired[str]


Event = UpdateEventJson | ClusterEventJson


@click.command()
@prints(lines=(UpdateEventJson, ClusterEventJson))
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


def _print_event(event: Event, *, as_json: bool) -> None:
    if as_json:
        print_json_line(event)
    elif event["event"] == "update":
        click.echo(f"{event['position']:>8}  {json.dumps(event['update'], ensure_ascii=False)}")
    else:
        click.echo(f"{'cluster':>8}  {event['text']}")


async def _events(client: Client, first_position: int | None) -> AsyncGenerator[Event, None]:
    """Updates and changes of the cluster, as they come."""
    queue: asyncio.Queue[Event | BaseException] = asyncio.Queue(1_000)

    async def pump(source: AsyncIterator[Event]) -> None:
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


async def _update_events(client: Client, position: int) -> AsyncIterator[Event]:
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


async def _cluster_events(client: Client) -> AsyncIterator[Event]:
    """A line for each change of primary, epoch, pause, or a node's state."""
    before: dict[str, str] = {}
    async for view in client.watch_cluster():
        now = {node.address.name: state_word(node) for node in view.nodes}
        now["primary"] = f"{view.primary or 'none'} (epoch {view.epoch}{', paused' if view.paused else ''})"
        for key, value in now.items():
            if before.get(key) != value:
                yield {"event": "cluster", "subject": key, "value": value, "text": f"{key}: {value}"}
        before = now
