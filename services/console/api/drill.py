"""A drill from the page: one at a time, told while it goes on; its receipt is kept until the next one begins."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from fasttree.client import Client, Endpoints, FailedPreconditionError
from fasttree.client.drill.drill import Drill, Unfinished
from fasttree.client.drill.killing import KillProcess
from fasttree.client.drill.load import Load
from fasttree.client.drill.receipt import Step, receipt_json
from fasttree.client.status.problems import Problem
from services.console.drills.journal import Journal
from services.console.http.answers import AskError, asked, json_answer
from services.console.http.guarding import OPERATE, SEE_CLUSTER, check_may, in_name
from services.console.settings import DrillSettings
from services.shared.files.threads import in_thread

logger = logging.getLogger(__name__)

_NO_KILL = "whoever began it wanted no kill"
_NOT_HERE = "console.endpoints_file names no file of this machine's nodes"
#: Between two attempts to undo what is not undone.
_AGAIN_S = 5.0


class _Begun:
    """One drill."""

    def __init__(self, drill: Drill, *, kills: bool = False, before_ms: int = 0) -> None:
        """`before_ms`: begun then by a console that ended in the middle, and to be undone."""
        self.drill = drill
        self.kills = kills
        self.is_of_before = before_ms > 0
        self.begun_ms = before_ms or _wall_ms()
        self.ended_ms: int | None = None
        self.task: asyncio.Task[None] | None = None
        self._is_broken_off = False

    def break_off(self) -> None:
        """Has it undo what it did; said again, it goes on with that."""
        if self.task is not None and not self._is_broken_off:
            self._is_broken_off = True
            self.task.cancel()

    def json(self) -> dict[str, Any]:
        """For the page; the receipt once it is over."""
        over = self.ended_ms is not None
        return {
            "begun_at": self.begun_ms,
            "ended_at": self.ended_ms,
            "kills": self.kills,
            "of_before": self.is_of_before,
            "steps": [_step_json(step) for step in self.drill.steps],
            "not_tried": self.drill.not_tried,
            "left_behind": self.drill.left_behind() if over else "",
            "receipt": receipt_json(self.drill.steps, self.drill.not_tried) if over else None,
        }


class DrillPages:
    """Of operators. `open_client` makes a client of the cluster that knows these nodes besides."""

    def __init__(self, open_client: Callable[[Endpoints | None], Client], settings: DrillSettings) -> None:
        """Raises StartupError where another process has the state folder."""
        self._open_client = open_client
        self._settings = settings
        self._journal = Journal(Path(settings.state_folder).absolute()) if settings.state_folder else None
        self._newest: _Begun | None = None

    def start(self) -> None:
        """Goes on with what a console before this one left undone."""
        if self._journal is not None and self._journal.unfinished is not None:
            self._undo(self._journal, self._journal.unfinished)

    @property
    def is_left_undone(self) -> bool:
        """A drill has ended, and not all is as it was before it."""
        if self._journal is None or self._journal.unfinished is None:
            return False
        return not self._is_running or (self._newest is not None and self._newest.is_of_before)

    def problems(self) -> Iterator[Problem]:
        """What the page of the cluster tells."""
        if self._journal is not None and self._journal.damage:
            yield Problem(text=self._journal.damage, alert="FastTreeDrillNotUndone", fault=True)
        if self.is_left_undone and self._journal is not None and self._journal.unfinished is not None:
            drill, _ = self._journal.unfinished
            how = "it is being undone" if self._is_running else "the page Drill undoes it, and says what is in the way"
            text = (
                f"a drill was not undone: its member {drill.name} may be in the tree, and {drill.primary} was primary "
                f"before it; {how}"
            )
            yield Problem(text=text, alert="FastTreeDrillNotUndone", fault=not self._is_running)

    def routes(self) -> Iterator[web.RouteDef]:
        """Where they are."""
        yield web.get("/api/drill", self._show)
        yield web.post("/api/drill", self._begin)
        yield web.post("/api/drill/end", self._end)
        yield web.post("/api/drill/undo", self._undo_now)

    async def stop(self) -> None:
        """Undoes what a drill has done, as far as it can, and ends it."""
        if self._newest is not None and self._newest.task is not None:
            self._newest.break_off()
            with contextlib.suppress(asyncio.CancelledError):
                await self._newest.task
        if self._journal is not None:
            self._journal.close()

    async def _show(self, request: web.Request) -> web.Response:
        check_may(request, SEE_CLUSTER)
        return self._answer()

    async def _begin(self, request: web.Request) -> web.Response:
        check_may(request, OPERATE)
        kill = (await asked(request)).get("kill", False)
        if not isinstance(kill, bool):
            raise AskError("kill must be true or false")
        if kill and not self._settings.endpoints_file:
            raise AskError(f"no node can be killed from here: {_NOT_HERE}; drill without, or by `fasttree drill`")
        if self._is_running:
            raise FailedPreconditionError("a drill is under way: wait for its receipt, or end it")
        if self.is_left_undone:
            raise FailedPreconditionError("the drill before is not undone yet: have that undone first")
        endpoints = await in_thread(self._read) if self._settings.endpoints_file else None
        client = self._open_client(endpoints)
        drill = Drill(
            in_name(request, client),
            KillProcess(self._read) if kill else None,
            load=Load(
                self._settings.drill_reads_per_s,
                self._settings.drill_orders_per_s,
                self._settings.drill_read_timeout_s,
            ),
            wait_s=self._settings.drill_wait_s,
            begins=lambda name: logger.info("drill: %s", name),
            kills_none=_NO_KILL if self._settings.endpoints_file else _NOT_HERE,
            keeps=self._keep,
        )
        self._newest = begun = _Begun(drill, kills=kill)
        begun.task = asyncio.create_task(self._run(begun, client), name="a drill")
        return self._answer()

    async def _end(self, request: web.Request) -> web.Response:
        """Has it undo what it did."""
        check_may(request, OPERATE)
        if self._newest is not None and self._is_running:
            self._newest.break_off()
        return self._answer()

    async def _undo_now(self, request: web.Request) -> web.Response:
        """What a drill left undone, whose undoing was broken off or did not work."""
        check_may(request, OPERATE)
        if self._journal is not None and self._journal.unfinished is not None and not self._is_running:
            self._undo(self._journal, self._journal.unfinished)
        return self._answer()

    @property
    def _is_running(self) -> bool:
        return self._newest is not None and self._newest.ended_ms is None

    def _read(self) -> Endpoints:
        return Endpoints.read(Path(self._settings.endpoints_file))

    async def _run(self, begun: _Begun, client: Client) -> None:
        """Whatever comes of it stands in the receipt."""
        try:
            await begun.drill.run()
        except Exception as error:
            logger.exception("the drill broke off")
            begun.drill.steps.append(Step("the drill itself", over=True, problem=f"it broke off: {error}"))
        finally:
            begun.ended_ms = _wall_ms()
            await client.close()
            if left := begun.drill.left_behind():
                logger.warning("the drill is over; %s", left)

    async def _keep(self, unfinished: Unfinished | None) -> None:
        if self._journal is None:
            return
        if unfinished is None:
            await self._journal.undone()
        else:
            await self._journal.begun(unfinished, _wall_ms())

    def _undo(self, journal: Journal, left: tuple[Unfinished, int]) -> None:
        """In the console's own name: whoever began it may be gone."""
        unfinished, begun_ms = left
        client = self._open_client(None)
        drill = Drill(client, None, load=Load(1, 1), wait_s=self._settings.drill_wait_s, keeps=self._keep)
        self._newest = begun = _Begun(drill, before_ms=begun_ms)
        logger.warning("a drill was left undone: its member %s, primary was %s", *unfinished)
        begun.task = asyncio.create_task(self._undoing(begun, client, unfinished), name="the undoing of a drill")

    async def _undoing(self, begun: _Begun, client: Client, unfinished: Unfinished) -> None:
        """Until all is as it was, or somebody breaks it off."""
        try:
            while True:
                await begun.drill.undo(unfinished)
                if not (left := begun.drill.left_behind()):
                    break
                logger.warning("tried again in %g s: %s", _AGAIN_S, left)
                await asyncio.sleep(_AGAIN_S)
            logger.info("the drill that was left undone is undone")
        finally:
            begun.ended_ms = _wall_ms()
            await client.close()

    def _answer(self) -> web.Response:
        return json_answer(
            {
                "can_kill": bool(self._settings.endpoints_file),
                "reads_per_s": self._settings.drill_reads_per_s,
                "orders_per_s": self._settings.drill_orders_per_s,
                "running": self._is_running,
                "not_undone": self.is_left_undone,
                "kept": self._journal is not None,
                "newest": None if self._newest is None else self._newest.json(),
            }
        )


def drill_endpoints(own: Endpoints, read: Endpoints | None) -> Endpoints:
    """The console's own ways to the cluster, with the nodes that a file names: no certificate and no token of it."""
    return own if read is None else dataclasses.replace(own, nodes=read.nodes)


def _step_json(step: Step) -> dict[str, Any]:
    return {"step": step.name, "over": step.over, "good": step.good, "problem": step.problem, "figures": step.figures}


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
