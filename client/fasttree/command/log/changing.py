"""A change of a rule: pushed as an update, and what holds then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from fasttree.client import PushOptions
from fasttree.command.output import print_json
from fasttree.command.session import CommandError, Session, run
from fasttree.v1 import pusher_pb2, types_pb2


def rules_in_force(session: Session) -> types_pb2.Rules:
    """The rules at the log's end."""
    return run(_rules(session))


async def _rules(session: Session) -> types_pb2.Rules:
    async with session.client() as client:
        return (await client.get_pusher()).rules


def change_rules(
    session: Session,
    updates: Sequence[types_pb2.Update],
    sentence: Callable[[types_pb2.Rules], str],
    members: Callable[[types_pb2.Rules], Mapping[str, Any]],
) -> None:
    """Pushes changes of the rules, and says what holds now, in words or JSON. Raises CommandError for the first that is
    refused; the others hold."""
    receipts, rules = run(_push(session, updates))
    for receipt in receipts:
        if receipt.code:
            # Whoever gives a command gives no id that could be pushed again.
            reason, refused_at_door, _ = receipt.message.partition("; nothing was stored")
            raise CommandError(reason + ("; nothing was changed" if refused_at_door else ""))
    position = receipts[-1].position
    if session.json:
        print_json({"position": position, **members(rules)})
        return
    click.echo(f"position {position}; {sentence(rules)}")


async def _push(
    session: Session, updates: Sequence[types_pb2.Update]
) -> tuple[list[pusher_pb2.Receipt], types_pb2.Rules]:
    async with session.client() as client:
        receipts = [receipt async for receipt in client.push(updates, PushOptions())]
        return receipts, (await client.get_pusher()).rules
