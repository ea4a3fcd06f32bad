"""Commands that stand where programs of 2016 stood: one change each, by the id that its source has for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fasttree.client import PushOptions, UpdateFormatError
from fasttree.client.forms.receipt_json import ReceiptJson, receipt_json
from fasttree.client.forms.update_json import update_from_json
from fasttree.command.output import print_json
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import pusher_pb2, types_pb2

Command = TypeVar("Command", bound=Callable[..., Any])

_LEVELS = {
    "durable": pusher_pb2.ACK_LEVEL_DURABLE,
    "one": pusher_pb2.ACK_LEVEL_ONE_NODE,
    "all": pusher_pb2.ACK_LEVEL_ALL_NODES,
}
_id = click.argument("update_id", metavar="ID")
_member = click.argument("member_id", metavar="MEMBER")
_ack = click.option(
    "--ack",
    type=click.Choice(list(_LEVELS)),
    default="durable",
    show_default=True,
    help="What its receipt means: on the pusher's disk, on one node, on every healthy node.",
)


def _profile_options(command: Command) -> Command:
    """What is known of a member."""
    options = [
        click.option("--kind", type=click.Choice(["distributor", "customer"])),
        click.option("--status", help="The company's own code."),
        click.option("--rank", help="The company's own number."),
        click.option("--joined-on", metavar="YYYY-MM-DD"),
        click.option("--column", "columns", multiple=True, metavar="NAME=VALUE", help="A further column; repeat it."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(context_settings={"ignore_unknown_options": True})
@prints(ReceiptJson)
@_id
@_member
@click.argument("amount")
@click.option("--volume-type", help="The cluster's first where not given.")
@click.option("--period", metavar="YYYY-MM", help="The current one where not given.")
@_ack
@common_options
def order(session: Session, update_id: str, ack: str, **change: str | None) -> None:
    """An order, or a return where AMOUNT is negative: as oe3387sb sent it. ID is the order's own number."""
    _push(session, ack, update_id, "volume_posted", change)


@click.command()
@prints(ReceiptJson)
@_id
@_member
@click.option("--sponsor", "sponsor_id", help="Who enrols the member; a new root where not given.")
@click.option("--placement", "placement_id", help="Under whom it is placed; the holding tank where not given.")
@click.option("--leg", "placement_leg", help="Which leg of that one; the first free one where not given.")
@_profile_options
@_ack
@common_options
def enrol(session: Session, update_id: str, ack: str, columns: tuple[str, ...], **change: str | None) -> None:
    """A new member, or one that comes back: as tcmdst sent it."""
    _push(session, ack, update_id, "member_enrolled", change, columns)


@click.command("distributor-change")
@prints(ReceiptJson)
@_id
@_member
@_profile_options
@_ack
@common_options
def distributor_change(
    session: Session, update_id: str, ack: str, columns: tuple[str, ...], **change: str | None
) -> None:
    """New values of a member's own fields, as ccscdist sent them; what is not given stays as it is."""
    if not columns and all(value is None for name, value in change.items() if name != "member_id"):
        raise click.UsageError("Say what changes: --kind, --status, --rank, --joined-on or --column.")
    _push(session, ack, update_id, "member_changed", change, columns)


@click.command("tree-change")
@prints(ReceiptJson)
@_id
@_member
@click.argument("new_parent_id", metavar="[PARENT]", default="")
@click.option("--tree", type=click.Choice(["sponsor", "placement"]), default="sponsor", show_default=True)
@click.option("--leg", "placement_leg", help="In the placement tree: which leg of PARENT.")
@_ack
@common_options
def tree_change(session: Session, update_id: str, ack: str, **change: str | None) -> None:
    """A member goes below PARENT with its downline, or to the top: as ccstree sent it."""
    _push(session, ack, update_id, "member_moved", change)


@click.command()
@prints(ReceiptJson)
@_id
@_member
@click.option("--mode", type=click.Choice(["compress", "leave_empty"]), help="What becomes of the place.")
@click.option("--volume", type=click.Choice(["roll_up", "leaves"]), help="What becomes of the volume.")
@_ack
@common_options
def leave(session: Session, update_id: str, ack: str, **change: str | None) -> None:
    """A member leaves."""
    _push(session, ack, update_id, "member_removed", change)


def _push(
    session: Session,
    ack: str,
    update_id: str,
    kind: str,
    change: dict[str, str | None],
    columns: tuple[str, ...] = (),
) -> None:
    """Pushes one change, and says its position. Raises CommandError where it is refused."""
    content: dict[str, Any] = {name: value for name, value in change.items() if value is not None}
    if columns:
        content["columns"] = dict(_named(each) for each in columns)
    try:
        update = update_from_json(json.dumps({"update_id": update_id, kind: content}))
    except UpdateFormatError as error:
        raise CommandError(str(error)) from None

    async def body() -> pusher_pb2.Receipt:
        async with session.client() as client:
            options = PushOptions(ack_level=_LEVELS[ack])
            return [receipt async for receipt in client.push([update], options)][-1]

    receipt = run(body())
    if session.json:
        print_json(receipt_json(receipt))
    if receipt.code:
        raise CommandError(f"{update_id}: {receipt.message}")
    if not session.json:
        known = ", known already" if receipt.duplicate else ""
        outcome = types_pb2.Outcome.Name(receipt.outcome).removeprefix("OUTCOME_").lower() if receipt.outcome else ""
        click.echo(f"{update_id}: position {receipt.position}{known}{outcome and f', {outcome}'}")


def _named(column: str) -> tuple[str, str]:
    name, is_one, value = column.partition("=")
    if not is_one or not name:
        raise click.UsageError(f"--column {column}: write it as NAME=VALUE.")
    return name, value
