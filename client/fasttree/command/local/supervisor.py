"""Child processes: started so that none outlives us, restarted with back-off when they die, ended in order.

Rules:
* A child dies with us, however we die (PR_SET_PDEATHSIG), and has its own session: Ctrl-C reaches only us, and we end
  the children in our own order.
* A child that dies is started again with the same arguments after a wait that doubles, up to WAIT_S_MAX, and goes back
  to the first when it lived for LIVED_S. So it is tried again, for ever, where it can't be started: for want of room on
  the disk, of memory or of descriptors.
* Who is told of a new process id, and can't take it down, is told again until it can.
* What a child prints goes to its own log file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fasttree.command.processes import die_with_parent, inherited_environment

WAIT_S_FIRST = 0.1
WAIT_S_MAX = 5.0
LIVED_S = 10.0
LOG_BYTES_MAX = 16 * 1024 * 1024


@dataclass
class Child:
    """One process that should run."""

    name: str
    command: Sequence[str]
    log: Path
    #: How long it may take to end after SIGTERM.
    grace_s: float = 15.0
    environment: dict[str, str] = field(default_factory=dict)


class Supervisor:
    """Runs children until `stop`.

    `changed` is called whenever a process id changed, again after an OSError of it; `say` gets a line for people.
    """

    def __init__(self, changed: Callable[[], None], say: Callable[[str], None], *, restart: bool) -> None:
        self._changed = changed
        self._say = say
        self._restart = restart
        self._stopping = False
        self._children: dict[str, Child] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._log_starts: dict[str, int] = {}
        #: Children that died before `all_started`: a start that fails is told, not tried again.
        self.failed: list[str] = []
        self._all_started = False
        #: Runs while `changed` has to be called again.
        self._telling: asyncio.Task[None] | None = None

    def pid(self, name: str) -> int:
        """The newest process of a child, dead or alive; 0 before its start."""
        process = self._processes.get(name)
        return process.pid if process is not None else 0

    def written(self, name: str) -> str:
        """What a child's newest process has written to its log; empty before its start."""
        child = self._children.get(name)
        if child is None or not child.log.exists():
            return ""
        with child.log.open("rb") as log:
            log.seek(self._log_starts.get(name, 0))
            return log.read(LOG_BYTES_MAX).decode(errors="replace")

    def all_written(self) -> dict[str, str]:
        """The same of each part."""
        return {name: self.written(name) for name in self._children}

    async def start(self, child: Child) -> None:
        """Starts a child and watches it from then on. Raises OSError where its program can't be run."""
        self._children[child.name] = child
        await self._spawn(child)
        self._watchers[child.name] = asyncio.create_task(self._watch(child))

    async def end(self, name: str) -> None:
        """Ends a child; it is not started again."""
        watcher = self._watchers.pop(name)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        await self._end(name)
        del self._processes[name], self._children[name]

    async def kill(self, names: Sequence[str]) -> None:
        """Ends children at once, with all that they have started, as the loss of their machine does. Each is away until
        it is started."""
        watchers = [self._watchers.pop(name) for name in names if name in self._watchers]
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        self.signal(names, signal.SIGKILL)
        await asyncio.gather(*(self._processes[name].wait() for name in names))

    def signal(self, names: Sequence[str], number: signal.Signals) -> None:
        """Sends a signal to children, and all that they have started."""
        for name in names:
            process = self._processes[name]
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)  # each has a session of its own

    def all_started(self) -> None:
        """From now on, a child that dies is started again."""
        self._all_started = True

    async def _spawn(self, child: Child) -> None:
        child.log.parent.mkdir(parents=True, exist_ok=True)
        if child.log.exists() and child.log.stat().st_size > LOG_BYTES_MAX:
            child.log.replace(child.log.with_suffix(".log.1"))
        with child.log.open("ab") as log:
            self._log_starts[child.name] = log.tell()
            self._processes[child.name] = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),
                env=inherited_environment() | child.environment,
            )
        try:
            self._changed()
        except OSError as error:
            self._say(f"can't note that {child.name} has another process id: {error}; tries again")
            if self._telling is None or self._telling.done():
                self._telling = asyncio.create_task(self._tell_again())

    async def _tell_again(self) -> None:
        while True:
            await asyncio.sleep(WAIT_S_MAX)
            with contextlib.suppress(OSError):
                self._changed()
                return

    async def _watch(self, child: Child) -> None:
        wait_s = WAIT_S_FIRST
        while True:
            started_at = time.monotonic()
            code = await self._processes[child.name].wait()
            if self._stopping:
                return
            if not self._all_started:
                self.failed.append(child.name)
                return
            if time.monotonic() - started_at >= LIVED_S:
                wait_s = WAIT_S_FIRST
            if not self._restart:
                self._say(f"{child.name} ended ({_ending(code)}); not started again (--no-restart); log: {child.log}")
                return
            self._say(f"{child.name} ended ({_ending(code)}); starts again in {wait_s:g} s; log: {child.log}")
            wait_s = await self._start_again(child, wait_s)

    async def _start_again(self, child: Child, wait_s: float) -> float:
        """Starts a child that died, after a wait; how long the next wait is."""
        told = ""
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, WAIT_S_MAX)
            try:
                await self._spawn(child)
            except (OSError, subprocess.SubprocessError) as error:
                if str(error) != told:
                    told = str(error)
                    self._say(f"{child.name} can't be started: {told}; tries again")
            else:
                return wait_s

    async def stop(self, order: Sequence[Sequence[str]]) -> bool:
        """Ends the children, a group after the other, each with SIGTERM and after its grace with SIGKILL.

        Returns whether every one of them ended by itself with exit code 0.
        """
        self._stopping = True
        clean = True
        for group in order:
            results = await asyncio.gather(*(self._end(name) for name in group if name in self._processes))
            clean = clean and all(results)
        tasks = [*self._watchers.values(), *([self._telling] if self._telling is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return clean

    async def _end(self, name: str) -> bool:
        process, child = self._processes[name], self._children[name]
        if process.returncode is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(child.grace_s):
                code = await process.wait()
        except TimeoutError:
            self._say(f"{name} did not end within {child.grace_s:g} s; killed; log: {child.log}")
            process.kill()
            await process.wait()
            return False
        if code not in (0, -signal.SIGTERM):
            self._say(f"{name} ended with {_ending(code)}; log: {child.log}")
        return code == 0


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
