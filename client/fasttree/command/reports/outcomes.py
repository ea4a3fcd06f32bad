"""Commands about updates that were not applied at their position: held, rejected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import click

from fasttree.client import Reports
from fasttree.command.output import as_of_json, as_of_text, print_json, print_table
from fasttree.command.reports.commands import PAGE_SIZE, Asked, report_options
from fasttree.command.session import Session, common_options, run
from fasttree.v1 import report_pb2, types_pb2

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


def _print(session: Session, listed: _Listed, what: str) -> None:
    rows = [
        {
            "position": update.position,
            "update_id": update.update_id,
            "reason": update.reason,
            "waits_for": update.waits_for_member_id,
        }
        for update in listed.updates
    ]
    if session.json:
        print_json({"as_of": as_of_json(listed.as_of), "total_count": listed.total_count, "updates": rows})
        return
    if rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    click.echo(f"{listed.total_count} {what}, {as_of_text(listed.as_of)}")


_limit_option = click.option("--limit", type=click.IntRange(min=1), default=1_000, show_default=True)
_update_id_option = click.option(
    "--update-id", "update_id_prefix", default="", metavar="PREFIX", help="Only those whose update id begins so."
)


@click.command()
@click.option("--member", "member_id", default="", metavar="ID", help="Only those that wait for this member.")
@_update_id_option
@_limit_option
@common_options
@report_options
def held(session: Session, member_id: str, update_id_prefix: str, limit: int, asked: Asked) -> None:
    """Updates that wait for a member who is not known yet."""

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
                ),
                limit,
            )

    _print(session, run(body()), "held")


@click.command()
@_update_id_option
@_limit_option
@common_options
@report_options
def rejected(session: Session, update_id_prefix: str, limit: int, asked: Asked) -> None:
    """Updates that could never be taken, with the reason; the newest 10,000."""

    async def body() -> _Listed:
        async with session.client() as client:
            reports: Reports = asked.reports(client)
            return await _pages(
                lambda size, token: reports.list_rejected_updates(
                    limit=size, min_position=asked.min_position, update_id_prefix=update_id_prefix, page_token=token
                ),
                limit,
            )

    _print(session, run(body()), "rejected")
