"""Does to a machine what is asked for: all its processes at once, as its loss would."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from fasttree.command.local.parts import ClusterPlan
from fasttree.command.local.supervisor import Supervisor
from fasttree.command.machines.asking import ACTIONS, Asked, MachineFiles, MachineStates
from fasttree.command.machines.plan import parts_of
from fasttree.command.session import CommandError

#: How often it is looked at what is asked for, in seconds.
_LOOK_S = 0.05
RUNNING, STOPPED, KILLED = "running", "stopped", "killed"


class MachineKeeper:
    """The machines of one cluster.

    Args:
        plan: What there is, and how each is started.
        state: The folder of what a part keeps.
        say: Takes a line for people.
    """

    def __init__(
        self,
        files: MachineFiles,
        supervisor: Supervisor,
        plan: ClusterPlan,
        state: Callable[[str], Path],
        say: Callable[[str], None],
    ) -> None:
        self._files = files
        self._supervisor = supervisor
        self._state, self._say = state, say
        self._everything = [*plan.coordinator_names, *plan.node_names, *plan.pusher_names]
        self._children = {child.name: child for child in plan.children()}
        self._parts: dict[str, list[str]] = {}
        self._states: dict[str, str] = {}

    async def run(self, machines: Sequence[str]) -> None:
        """Until cancelled: they run, and come and go as is asked for."""
        self._parts = {name: parts_of(name, self._everything) for name in machines}
        self._states = dict.fromkeys(machines, RUNNING)
        self._files.done()
        self._write()
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._follow()
            except OSError as error:
                self._say(f"how the machines stand can't be written: {error}")

    async def _follow(self) -> None:
        problem = ""
        try:
            asked = await asyncio.to_thread(self._files.asked)
            if asked is None:
                return
            await self._do(asked)
            self._say(f"{asked.action} {asked.machine}: done")
        except (CommandError, OSError) as error:
            problem = str(error)
        await asyncio.to_thread(self._write, problem)
        await asyncio.to_thread(self._files.done)

    def thaw(self) -> None:
        """Those that were stopped go on, so that they can end."""
        for machine, state in self._states.items():
            if state == STOPPED:
                self._supervisor.signal(self._parts[machine], signal.SIGCONT)
                self._states[machine] = RUNNING

    async def _do(self, asked: Asked) -> None:
        machine = asked.machine
        parts, state = self._parts.get(machine), self._states.get(machine)
        if parts is None or asked.action not in ACTIONS:
            raise CommandError(f"no machine {machine}; there are: {', '.join(self._parts)}")
        match asked.action:
            case "stop" if state == RUNNING:
                self._supervisor.signal(parts, signal.SIGSTOP)
                self._states[machine] = STOPPED
            case "start" if state == STOPPED:
                self._supervisor.signal(parts, signal.SIGCONT)
                self._states[machine] = RUNNING
            case "start" if state == KILLED:
                await self._start(machine)
            case "kill" if state != KILLED:
                await self._kill(machine)
            case "empty":
                if state != KILLED:
                    await self._kill(machine)
                for part in parts:
                    await asyncio.to_thread(shutil.rmtree, self._state(part), ignore_errors=True)
                await self._start(machine)
            case _:
                raise CommandError(f"{machine} is {state}: nothing to {asked.action}")

    async def _kill(self, machine: str) -> None:
        await self._supervisor.kill(self._parts[machine])
        self._states[machine] = KILLED

    async def _start(self, machine: str) -> None:
        for part in self._parts[machine]:
            await self._supervisor.start(self._children[part])
        self._states[machine] = RUNNING

    def _write(self, problem: str = "") -> None:
        self._files.write(MachineStates(dict(self._states), self._parts, problem))
