"""`fasttree erase`: what personal columns hold of a member goes, for good."""

from __future__ import annotations

import shlex
from typing import TypedDict

import click

from fasttree.client.counts import counted
from fasttree.command.output import print_json
from fasttree.command.session import EXIT_WAITS, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import pusher_pb2


class ErasedJson(TypedDict):
    """The record that erased a member, and how many values went at the pusher."""

    member_id: str
    position: int
    values: int


class ErasureJson(TypedDict):
    """Who still has something of an erased member, and how many values came since."""

    member_id: str
    position: int
    done: bool
    waits_for: list[str]
    values_since: int


@click.command("erase")
@prints(ErasedJson, ErasureJson)
@click.argument("member_id", metavar="ID")
@click.option("--status", is_flag=True, help="Erases nothing: says who still has something of an erased member.")
@common_options
def erase(session: Session, member_id: str, *, status: bool) -> None:
    """Erases what personal columns hold of the member ID, for good. The member stays in the tree, with all else.

    The pusher has none of it when this ends; nodes delete their copies within moments, or when they are back. --status:
    exit code 3 while one has it yet, 1 where nobody erased ID.
    """
    if status:
        _show_status(session, member_id)
        return

    async def body() -> pusher_pb2.EraseMemberResponse:
        async with session.client() as client:
            return await client.erase_member(member_id)

    answer = run(body())
    if session.json:
        print_json(ErasedJson(member_id=member_id, position=answer.position, values=answer.values))
    else:
        told = f"position {answer.position}: {counted(answer.values, 'value')} of {member_id} erased at the pusher"
        if not answer.values:
            told += ": there was nothing, so look whether the id is right"
        click.echo(f"{told}; `{_again(member_id, '--status')}` says whether every node has done so")


def _again(member_id: str, *options: str) -> str:
    """The command for that member, as a shell takes it."""
    return shlex.join(["fasttree", "erase", *options, *(["--"] if member_id.startswith("-") else []), member_id])


def _show_status(session: Session, member_id: str) -> None:
    async def body() -> pusher_pb2.GetErasureResponse:
        async with session.client() as client:
            return await client.get_erasure(member_id)

    found = run(body())
    waits = [each.node for each in found.nodes if not each.done]
    if session.json:
        figures: ErasureJson = {
            "member_id": member_id,
            "position": found.position,
            "done": found.done,
            "waits_for": waits,
            "values_since": found.values_since,
        }
        print_json(figures)
    else:
        click.echo(_status_line(member_id, found, waits))
    if not found.done:
        raise SystemExit(EXIT_WAITS)


def _status_line(member_id: str, found: pusher_pb2.GetErasureResponse, waits: list[str]) -> str:
    when = f"erased at position {found.position}"
    if not found.position:
        when = "erased by a vault before this one" if found.done else "erased at the pusher"
    where = f"waits for {', '.join(waits)}" if waits else "gone from the pusher and every node"
    if not found.done and not waits:
        where = f"the log has no record of it yet, so `{_again(member_id)}` once it takes some"
    since = f"; {counted(found.values_since, 'value')} came since" if found.values_since else ""
    return f"{when}: {where}{since}; backups are yours to expire"
