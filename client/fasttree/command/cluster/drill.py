"""`fasttree drill`: the two-server testing procedure on a live cluster (`fasttree.client.drill`), and its receipt."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence

import click

from fasttree.client.drill.drill import Drill
from fasttree.client.drill.killing import KillByCommand, KillProcess
from fasttree.client.drill.receipt import DrillJson, Step, receipt_json, results
from fasttree.command.output import Progress, print_json, print_table
from fasttree.command.ranges import NumberRange, SecondsRange
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints


@click.command()
@prints(DrillJson)
@click.option(
    "--kill-command", metavar="COMMAND", help="Kills a node elsewhere, such as 'ssh {node} systemctl kill …'."
)
@click.option("--no-kill", is_flag=True, help="Only the planned switchover.")
@click.option("--reads", "reads_per_s", type=NumberRange(1, 2_000), default=200.0, show_default=True)
@click.option("--orders", "orders_per_s", type=NumberRange(1, 2_000), default=100.0, show_default=True)
@click.option("--wait", "wait_s", type=SecondsRange(1.0), default=60.0, show_default=True, help="Patience a step.")
@click.option("--yes", is_flag=True, help="Does not ask first; without a terminal it has to be given.")
@common_options
def drill(
    session: Session,
    kill_command: str | None,
    no_kill: bool,
    reads_per_s: float,
    orders_per_s: float,
    wait_s: float,
    yes: bool,
) -> None:
    """Tests failover on a live cluster, measures it, and undoes what it did.

    The primary is killed for real: its process where the endpoints file names it on this machine (`fasttree up` starts
    it again), else by --kill-command. Orders are for a member of the drill's own, who is removed at the end; what it
    pushed stays in the log.
    """
    if no_kill and kill_command is not None:
        raise click.UsageError("--no-kill kills nothing: leave out --kill-command.")
    if not yes:
        _ask(session, kill=not no_kill, orders_per_s=orders_per_s)
    killing = None if no_kill else KillByCommand(kill_command) if kill_command else KillProcess(session.endpoints)
    begun: list[Drill] = []

    async def under_way() -> list[Step]:
        progress = Progress(quiet=session.json)
        rates = reads_per_s, orders_per_s
        async with session.client() as client:
            begun.append(
                Drill(client, killing, rates=rates, wait_s=wait_s, begins=lambda name: progress.line(f"drill: {name}"))
            )
            return await begun[0].run()

    for number in (signal.SIGTERM, signal.SIGHUP):  # whoever ends a drill wants it undone
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        steps = run(under_way())
    except KeyboardInterrupt:
        left = begun[0].left_behind() if begun else ""
        click.echo(f"interrupted; {left or 'what the drill did is undone'}", err=True)
        raise
    good = all(step.good for step in steps)
    print_receipt(steps, begun[0].not_tried, as_json=session.json)
    if not good:
        bad = next(step for step in steps if not step.good)
        left = begun[0].left_behind()
        raise CommandError(f"the drill failed at `{bad.name}`: {bad.problem}" + (f"; {left}" if left else ""))


def _ask(session: Session, *, kill: bool, orders_per_s: float) -> None:
    """Raises CommandError where the answer is no, or nobody can be asked."""
    kills = ", kills that one" if kill else ""
    what = f"it makes another node primary{kills}, and pushes {orders_per_s:g} orders a second"
    if not sys.stdin.isatty():
        raise CommandError(f"a drill on this cluster: {what}; give --yes where that is wanted")
    where = session.endpoints().coordinator
    if not click.confirm(f"A drill on the cluster of coordinator {where}: {what}. Go on?", err=True):
        raise CommandError("the drill was not begun; nothing was changed")


def print_receipt(steps: Sequence[Step], not_tried: Mapping[str, str], *, as_json: bool) -> None:
    """Both tables, or one object."""
    if as_json:
        print_json(receipt_json(steps, not_tried))
        return
    print_table(["step", "result", "figures"], [_row(step) for step in steps])
    click.echo()
    print_table(
        ["testing procedure of 2016", "what it asks for", "result", "shown by"],
        [[each.section.title, each.section.asks, each.word, each.why] for each in results(steps, not_tried)],
    )


def _row(step: Step) -> list[str]:
    figures = ", ".join(f"{name} {value:g}" for name, value in step.figures.items())
    return [step.name, "good" if step.good else "BAD", figures]
