"""Commands about updates that were not applied at their position: held (and what becomes of them), rejected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import click

from fasttree.client import Reports
from fasttree.client.forms.members import as_of_json
from fasttree.client.settling import settle_held
from fasttree.command.output import as_of_text, print_json, print_table
from fasttree.command.ranges import COUNT, POSITION
from fasttree.command.reports.answers import HeldListJson, RejectedListJson, SettledJson
from fasttree.command.reports.asked import Asked, answer_options
from fasttree.command.reports.commands import PAGE_SIZE
from fasttree.command.session import Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.v1 import pusher_pb2, report_pb2, types_pb2

Page = report_pb2.ListHeldUpdatesResponse | report_pb2.ListRejectedUpdatesResponse


@dataclass
class _Listed:
    """Updates of one or more pages."""

    as_of: types_pb2.AsOf
    total_count: int
    updates: list[types_pb2.UpdateOutcome] = field(default_factory=list)


async def _pages(ask: Callable[[int, str], Awaitable[Page]], limit: int) -> _Listed:
    """The first `limit` updates: `ask` gets the size of a page and its token. Each page stands before those before it
    in the list where its positions are lower."""
    answer = await ask(min(limit, PAGE_SIZE), "")
    listed = _Listed(answer.as_of, answer.total_count, list(answer.updates))
    while answer.next_page_token and len(listed.updates) < limit:
        answer = await ask(min(limit - len(listed.updates), PAGE_SIZE), answer.next_page_token)
        listed.as_of = answer.as_of
        listed.updates += answer.updates
    listed.updates.sort(key=lambda update: update.position)
    return listed


def _print(session: Session, listed: _Listed, what: str, *, waiting: bool) -> None:
    """`waiting`: whether they wait for somebody."""
    rows: list[dict[str, Any]] = []
    for update in listed.updates:
        row = {"position": update.position, "update_id": update.update_id, "reason": update.reason}
        if waiting:
            row |= {"waits_for": update.waits_for_member_id, "removed_position": update.removed_position}
        rows.append(row)
    if session.json:
        print_json({"as_of": as_of_json(listed.as_of), "total_count": listed.total_count, "updates": rows})
        return
    if rows:
        columns = ["position", "update_id", "reason", *(["waits_for"] if waiting else [])]
        print_table(columns, [[row[column] for column in columns] for row in rows])
    click.echo(f"{listed.total_count} {what}, {as_of_text(listed.as_of)}")


_limit_option = click.option("--limit", type=COUNT, default=1_000, show_default=True)
_update_id_option = click.option(
    "--update-id", "update_id_prefix", default="", metavar="PREFIX", help="Only those whose update id begins so."
)


@click.group(invoke_without_command=True)
@prints(HeldListJson)
@click.option("--member", "member_id", default="", metavar="ID", help="Only those that wait for this member.")
@_update_id_option
@_limit_option
@common_options
@answer_options
@click.pass_context
def held(
    context: click.Context, session: Session, member_id: str, update_id_prefix: str, limit: int, asked: Asked
) -> None:
    """Updates that wait for a member who is not known yet; what is to become of them, by `drop` and `retry`."""
    if context.invoked_subcommand is not None:
        own = [
            parameter.opts[0]
            for parameter in context.command.params
            if parameter.expose_value
            and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
        ]
        if own:
            does = f"`held {context.invoked_subcommand}`"
            raise click.UsageError(
                f"{' and '.join(own)} before {does} would do nothing: {does} takes its own after it."
            )
        return

    async def body() -> _Listed:
        async with session.client() as client:
            reports: Reports = asked.reports(client)
            return await _pages(
                lambda size, token: reports.list_held_updates(
                    limit=size,
                    min_position=asked.min_position,
                    member_id=member_id,
                    update_id_prefix=update_id_prefix,
                    page_token=token,
                    as_of_period=asked.as_of_period,
                ),
                limit,
            )

    _print(session, run(body()), "held", waiting=True)


@dataclass(frozen=True)
class _Which:
    """The held update of a position, or (0) every one that waits for a member."""

    position: int
    member_id: str

    def text(self) -> str:
        return f"the held update of position {self.position}" if self.position else f"what waits for {self.member_id}"


def _settling(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what says which updates, and why."""
    options = [
        click.argument("position", type=POSITION, required=False, metavar="[POSITION]"),
        click.option(
            "--member", "member_id", default="", metavar="ID", help="Every update that waits for this member."
        ),
        click.option("--reason", required=True, metavar="TEXT", help="Why; it stands in the log."),
        common_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@held.command()
@prints(SettledJson)
@_settling
def drop(session: Session, position: int | None, member_id: str, reason: str) -> None:
    """Held updates will never be applied: `fasttree rejected` lists them from then on, with the reason."""
    _settle(session, types_pb2.HELD_ACTION_DROP, _which(position, member_id), reason)


@held.command()
@prints(SettledJson)
@_settling
def retry(session: Session, position: int | None, member_id: str, reason: str) -> None:
    """Tries held updates again, for whoever has the ids that they name now.

    For what was held for a member who was removed: an enrolment under the same id does not release it, unless it says
    `returning`.
    """
    _settle(session, types_pb2.HELD_ACTION_RETRY, _which(position, member_id), reason)


def _which(position: int | None, member_id: str) -> _Which:
    if (position is None) == (not member_id):
        raise click.UsageError("name the held updates: a POSITION, or --member ID")
    return _Which(position or 0, member_id)


def _settle(session: Session, action: types_pb2.HeldAction.ValueType, which: _Which, reason: str) -> None:
    async def body() -> pusher_pb2.Receipt:
        async with session.client() as client:
            return await settle_held(client, action, reason, position=which.position, member_id=which.member_id)

    receipt = run(body())
    if session.json:
        print_json(SettledJson(update_id=receipt.update_id, position=receipt.position))
        return
    done = {types_pb2.HELD_ACTION_DROP: "dropped", types_pb2.HELD_ACTION_RETRY: "tried again"}[action]
    click.echo(f"{which.text()}: {done} at position {receipt.position}")


@click.command()
@prints(RejectedListJson)
@_update_id_option
@_limit_option
@common_options
@answer_options
def rejected(session: Session, update_id_prefix: str, limit: int, asked: Asked) -> None:
    """Updates that could never be taken, with the reason; the newest 10,000."""

    async def body() -> _Listed:
        async with session.client() as client:
            reports: Reports = asked.reports(client)
            return await _pages(
                lambda size, token: reports.list_rejected_updates(
                    limit=size,
                    min_position=asked.min_position,
                    update_id_prefix=update_id_prefix,
                    page_token=token,
                    as_of_period=asked.as_of_period,
                ),
                limit,
            )

    _print(session, run(body()), "rejected", waiting=False)
