"""Whose turn it is: switchovers of the primary and of the active pusher, and pauses."""

from __future__ import annotations

from typing import TypedDict

import click

from fasttree.client import CallError, Client, NotFoundError
from fasttree.command.output import print_json
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import coordinator_pb2


class SwitchoverJson(TypedDict):
    """Which node is primary now; the same one where it was before."""

    from_node: str
    to_node: str
    epoch: int
    took_ms: int


class PusherSwitchoverJson(TypedDict):
    """Which pusher is active now."""

    from_pusher: str
    to_pusher: str
    epoch: int
    took_ms: int


class PausedJson(TypedDict):
    """Whether elections are paused."""

    paused: bool


@click.command()
@prints(SwitchoverJson, PusherSwitchoverJson)
@click.option(
    "--to", "to_node", default="", metavar="NAME", help="The new primary, or pusher; the best ready one if not given."
)
@click.option("--pusher", "of_pushers", is_flag=True, help="Of several pushers, make another one active instead.")
@common_options
def switchover(session: Session, to_node: str, of_pushers: bool) -> None:
    """Makes another node primary, once it has caught up to the exact position; or another pusher active."""
    if of_pushers:
        _switch_pusher(session, to_node)
        return

    async def body() -> coordinator_pb2.SwitchoverResponse:
        async with session.client() as client:
            try:
                return await client.switchover(to_node, timeout_s=session.timeout_s)
            except NotFoundError as error:
                if to_node in await _names(client, of_pushers=True):
                    raise CommandError(f"{error}; {to_node} is a pusher: add --pusher") from None
                raise

    answer = run(body())
    if session.json:
        print_json(
            SwitchoverJson(
                from_node=answer.from_node, to_node=answer.to_node, epoch=answer.epoch, took_ms=answer.took_ms
            )
        )
    elif answer.from_node == answer.to_node:
        click.echo(f"{answer.to_node} is primary already, epoch {answer.epoch}")
    else:
        click.echo(
            f"{answer.to_node} is primary (before: {answer.from_node or 'none'}), epoch {answer.epoch}, "
            f"took {answer.took_ms} ms"
        )


def _switch_pusher(session: Session, to_pusher: str) -> None:
    async def body() -> coordinator_pb2.SwitchoverPusherResponse:
        async with session.client() as client:
            try:
                return await client.switchover_pusher(to_pusher, timeout_s=session.timeout_s)
            except NotFoundError as error:
                if to_pusher in await _names(client, of_pushers=False):
                    raise CommandError(f"{error}; {to_pusher} is a node: leave out --pusher") from None
                raise

    answer = run(body())
    if session.json:
        before, now = answer.from_pusher, answer.to_pusher
        print_json(PusherSwitchoverJson(from_pusher=before, to_pusher=now, epoch=answer.epoch, took_ms=answer.took_ms))
    elif answer.from_pusher == answer.to_pusher:
        click.echo(f"{answer.to_pusher} is the active pusher already, epoch {answer.epoch}")
    else:
        before = f"(before: {answer.from_pusher or 'none'})"
        click.echo(f"{answer.to_pusher} is the active pusher {before}, epoch {answer.epoch}, took {answer.took_ms} ms")


async def _names(client: Client, *, of_pushers: bool) -> set[str]:
    """Of what there is of the other kind; none where nobody says."""
    try:
        view = await client.get_cluster()
    except CallError:
        return set()
    return {pusher.name for pusher in view.pushers} if of_pushers else {node.address.name for node in view.nodes}


@click.command()
@prints(PausedJson)
@common_options
def pause(session: Session) -> None:
    """No elections until `fasttree resume`: a primary that fails is not replaced."""
    _set_paused(session, True)


@click.command()
@prints(PausedJson)
@common_options
def resume(session: Session) -> None:
    """Elections go on."""
    _set_paused(session, False)


def _set_paused(session: Session, paused: bool) -> None:
    async def body() -> None:
        async with session.client() as client:
            await (client.pause() if paused else client.resume())

    run(body())
    if session.json:
        print_json(PausedJson(paused=paused))
    else:
        click.echo("elections are paused; `fasttree resume` ends that" if paused else "elections go on")
