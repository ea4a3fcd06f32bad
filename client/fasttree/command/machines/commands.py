"""`fasttree machine`: a machine of `fasttree up --machines` lost, frozen, given back."""

from __future__ import annotations

import asyncio
import time
from typing import TypedDict

import click

from fasttree.command.machines.asking import Asked, MachineFiles, MachineStates
from fasttree.command.nodes.local import local_folder
from fasttree.command.output import print_json, print_table
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints

_POLL_S = 0.05


class MachineJson(TypedDict):
    """How a machine stands, and what is on it."""

    state: str
    parts: list[str]


@click.group()
def machine() -> None:
    """The machines of `fasttree up --machines`: lost, frozen, given back, also empty."""


@machine.command("list")
@prints(dict[str, MachineJson])
@common_options
def list_machines(session: Session) -> None:
    """Each machine, how it stands, and what is on it."""
    _show(session, _states(_files(session)))


@machine.command()
@prints(dict[str, MachineJson])
@click.argument("name", metavar="MACHINE")
@common_options
def kill(session: Session, name: str) -> None:
    """All processes of it end at once, as at the loss of the machine; none is started again."""
    _ask(session, Asked("kill", name))


@machine.command()
@prints(dict[str, MachineJson])
@click.argument("name", metavar="MACHINE")
@common_options
def stop(session: Session, name: str) -> None:
    """All processes of it freeze: nothing answers, and no connection ends."""
    _ask(session, Asked("stop", name))


@machine.command()
@prints(dict[str, MachineJson])
@click.argument("name", metavar="MACHINE")
@common_options
def start(session: Session, name: str) -> None:
    """A machine that was killed or stopped comes back, with what it had."""
    _ask(session, Asked("start", name))


@machine.command()
@prints(dict[str, MachineJson])
@click.argument("name", metavar="MACHINE")
@common_options
def empty(session: Session, name: str) -> None:
    """A machine comes back with nothing: killed if it runs, its state removed, started."""
    _ask(session, Asked("empty", name))


def _files(session: Session) -> MachineFiles:
    home = local_folder(session)
    if home is None:
        raise CommandError("machines are those of a cluster of `fasttree up --machines` that runs here")
    return MachineFiles(home.path)


def _states(files: MachineFiles) -> MachineStates:
    states = files.states()
    if states is None:
        raise CommandError("this cluster has no machines: start one with `fasttree up --machines 3 --postgresql URL`")
    return states


def _ask(session: Session, asked: Asked) -> None:
    files = _files(session)
    known = _states(files).states
    if asked.machine not in known:
        raise CommandError(f"no machine {asked.machine}; there are: {', '.join(known)}")
    files.ask(asked)
    run(_until_done(files, session.timeout_s))
    states = _states(files)
    if states.problem:
        raise CommandError(states.problem)
    _show(session, states)


async def _until_done(files: MachineFiles, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while files.asked() is not None:
        if time.monotonic() > deadline_s:
            raise CommandError("not done yet; the terminal of `fasttree up` says why")
        await asyncio.sleep(_POLL_S)


def _show(session: Session, states: MachineStates) -> None:
    if session.json:
        print_json({name: MachineJson(state=state, parts=states.parts[name]) for name, state in states.states.items()})
        return
    print_table(
        ["machine", "state", "parts"],
        [[name, state, ", ".join(states.parts[name])] for name, state in states.states.items()],
    )
