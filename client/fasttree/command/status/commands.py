"""`fasttree status`, once or with --watch."""

from __future__ import annotations

import click

from fasttree.command.output import print_json
from fasttree.command.screen.rounds import EVERY_S, Round, look_again, rounds_options
from fasttree.command.screen.styled import Line, Style, Text, print_lines
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.status.looking import Seen, StatusJson, Watched, WatchedJson, look, status_client
from fasttree.command.status.shown import status_lines


@click.command()
@prints(StatusJson, lines=WatchedJson)
@click.option("--watch", is_flag=True, help="Looks again and again, until q or Ctrl-C; with --json, a line a look.")
@rounds_options
@common_options
def status(session: Session, watch: bool, every_s: float | None, count: int | None) -> None:
    """Nodes with role, state, epoch, import, position and lag; the log; coordinators and pushers; imports.

    Exit code 1 where something heals by nothing but an operator, or a part does not answer; with --watch and --count,
    by the last look. Ctrl-C ends --watch with 130, q with 0.
    """
    if not watch and (every_s is not None or count is not None):
        raise click.UsageError("--every and --count say how --watch looks: add --watch.")
    if watch:
        _watch(session, EVERY_S if every_s is None else every_s, count)
        return
    seen = run(_once(session))
    if session.json:
        print_json(seen.json)
    else:
        print_lines(list(status_lines(seen)))
    if seen.problems:
        raise CommandError("; ".join(seen.problems))


async def _once(session: Session) -> Seen:
    async with status_client(session) as client:
        return await look(session, client)


def _watch(session: Session, every_s: float, count: int | None) -> None:
    problems: list[str] = []

    async def body() -> bool:
        async with Watched(session) as watched:

            async def one() -> Round:
                seen = await watched.look()
                problems[:] = seen.problems
                return Round(seen.json, [*status_lines(seen), *problem_lines(seen.problems)])

            return await look_again(one, every_s, count, as_json=session.json)

    if run(body()) and problems:
        raise CommandError("; ".join(problems))


def problem_lines(problems: list[str]) -> list[Line]:
    """What is wrong, as it is shown where nothing ends for it."""
    return [[Text(f"error: {problem}", Style.BAD)] for problem in problems]
