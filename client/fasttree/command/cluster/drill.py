"""`fasttree drill`: the two-server testing procedure on a live cluster (`fasttree.client.drill`), and its receipt."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from fasttree.client.drill.drill import Drill, Unfinished
from fasttree.client.drill.killing import KillByCommand, Killing, KillProcess
from fasttree.client.drill.load import Load
from fasttree.client.drill.receipt import DrillJson, Step, receipt_json, results
from fasttree.command.output import Progress, print_json, print_table
from fasttree.command.ranges import NumberRange, SecondsRange
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.status.unfinished import open_journal, said

if TYPE_CHECKING:
    from services.console.drills.journal import Journal


@click.command()
@prints(DrillJson)
@click.option(
    "--kill-command", metavar="COMMAND", help="Kills a node elsewhere, such as 'ssh {node} systemctl kill …'."
)
@click.option("--no-kill", is_flag=True, help="Only the planned switchover.")
@click.option("--reads", "reads_per_s", type=NumberRange(1, 2_000), default=200.0, show_default=True)
@click.option("--orders", "orders_per_s", type=NumberRange(1, 2_000), default=100.0, show_default=True)
@click.option(
    "--read-timeout",
    "read_timeout_s",
    type=SecondsRange(0.1),
    default=2.0,
    show_default=True,
    help="A read that is not answered within that has failed.",
)
@click.option("--wait", "wait_s", type=SecondsRange(1.0), default=60.0, show_default=True, help="Patience a step.")
@click.option("--undo", is_flag=True, help="Begins no drill: takes back what one did whose command was killed.")
@click.option("--yes", is_flag=True, help="Does not ask first; without a terminal it has to be given.")
@common_options
def drill(
    session: Session,
    kill_command: str | None,
    no_kill: bool,
    reads_per_s: float,
    orders_per_s: float,
    read_timeout_s: float,
    wait_s: float,
    undo: bool,
    yes: bool,
) -> None:
    """Tests failover on a live cluster, measures it, and undoes what it did.

    The primary is killed for real: its process where the endpoints file names it on this machine (`fasttree up` starts
    it again), else by --kill-command. Orders are for a member of the drill's own, who is removed at the end; what it
    pushed stays in the log. What has to be undone is written down before, beside the endpoints file: --undo goes by it.
    """
    if no_kill and kill_command is not None:
        raise click.UsageError("--no-kill kills nothing: leave out --kill-command.")
    if undo and (no_kill or kill_command is not None):
        raise click.UsageError("--undo begins no drill: leave out --no-kill and --kill-command.")
    killing = None if no_kill else KillByCommand(kill_command) if kill_command else KillProcess(session.endpoints)
    load = Load(reads_per_s, orders_per_s, read_timeout_s)
    with contextlib.closing(open_journal(session)) as journal:
        if undo:
            if journal.unfinished is None:
                raise CommandError("there is nothing to undo: no drill from here was left in the middle")
            _run(session, journal, None, load, wait_s, journal.unfinished[0])
            return
        if journal.unfinished is not None:
            raise CommandError(said(journal.unfinished))
        if not yes:
            _ask(session, kill=not no_kill, orders_per_s=orders_per_s)
        _run(session, journal, killing, load, wait_s)


def _run(
    session: Session,
    journal: Journal,
    killing: Killing | None,
    load: Load,
    wait_s: float,
    left: Unfinished | None = None,
) -> None:
    """A drill, or the undoing of the one that was left."""
    begun: list[Drill] = []

    async def keeps(unfinished: Unfinished | None) -> None:
        if unfinished is None:
            await journal.undone()
        else:
            await journal.begun(unfinished, time.time_ns() // 1_000_000)

    async def under_way() -> list[Step]:
        progress = Progress(quiet=session.json)
        async with session.client() as client:
            drill = Drill(
                client,
                killing,
                load=load,
                wait_s=wait_s,
                begins=lambda name: progress.line(f"drill: {name}"),
                kills_none="--no-kill" if left is None else "--undo",
                keeps=keeps,
            )
            begun.append(drill)
            return await (drill.run() if left is None else drill.undo(left))

    for number in (signal.SIGTERM, signal.SIGHUP):  # whoever ends a drill wants it undone
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        steps = run(under_way())
    except KeyboardInterrupt:
        click.echo(f"interrupted; {_left_behind(begun) or 'what the drill did is undone'}", err=True)
        raise
    good = all(step.good for step in steps)
    print_receipt(steps, begun[0].not_tried, as_json=session.json)
    if not good:
        bad = next(step for step in steps if not step.good)
        undone = _left_behind(begun)
        raise CommandError(f"the drill failed at `{bad.name}`: {bad.problem}" + (f"; {undone}" if undone else ""))


def _left_behind(begun: Sequence[Drill]) -> str:
    left = begun[0].left_behind() if begun else ""
    return f"{left}; or `fasttree drill --undo` does both" if left else ""


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
