"""A change of a rule: pushed as an update, and what holds then."""

from __future__ import annotations

import secrets
from collections.abc import Callable
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


def new_id(what: str) -> str:
    """One for each time that it is asked for: another closing of a month is another change."""
    printable = "".join(each if each.isascii() and each.isprintable() and each != " " else "_" for each in what)
    return f"{printable[:50]}-{secrets.token_hex(4)}"


def change_rules(
    session: Session,
    update: types_pb2.Update,
    sentence: Callable[[types_pb2.Rules], str],
    members: Callable[[types_pb2.Rules], dict[str, Any]],
) -> None:
    """Pushes a change of the rules, and says what holds now, in words or JSON. Raises CommandError."""
    receipt, rules = run(_push(session, update))
    if receipt.code:
        raise CommandError(receipt.message)
    if session.json:
        print_json({"position": receipt.position, **members(rules)})
        return
    click.echo(f"position {receipt.position}; {sentence(rules)}")


async def _push(session: Session, update: types_pb2.Update) -> tuple[pusher_pb2.Receipt, types_pb2.Rules]:
    async with session.client() as client:
        receipts = [receipt async for receipt in client.push([update], PushOptions())]
        return receipts[0], (await client.get_pusher()).rules
