"""A drill: the two-server testing procedure on a live cluster.

Under reads through the VIP and pushed orders:
1. all nodes are ready and hold the same;
2. looks (`looks.py`): the newest import is everywhere, reads go to the primary, the logs have a line;
3. a planned switchover to a passive node;
4. the primary is killed: how long until it is noticed, another one is elected, and a read is good again;
5. the killed node comes back and catches up;
6. every order with a receipt counts once on every node; all nodes hold the same;
7. undone: the primary of before is primary again, the drill's own member is gone.

The receipt (`receipt.py`) has the sections of 2016's testing procedure beside these.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from fasttree.client.client import Client
from fasttree.client.counts import counted
from fasttree.client.drill.killing import Killing
from fasttree.client.drill.load import Load, Orders, Reads
from fasttree.client.drill.looks import NotTriedError, hits_in_logs, newest_import, traffic_is_the_primarys
from fasttree.client.drill.receipt import (
    BACK,
    HITS,
    IMPORTED,
    KILLED,
    NOTHING_LOST,
    READS,
    READY,
    SWITCHOVER,
    TRAFFIC,
    UNDONE,
    DrillError,
    Step,
)
from fasttree.client.errors import CallError, FastTreeClientError, NotFoundError
from fasttree.client.forms.update_json import update_to_json
from fasttree.v1 import coordinator_pb2, types_pb2

_READY = (coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY)
_SETTLE_S = 1.0


class Unfinished(NamedTuple):
    """What has to be known of a drill to undo it."""

    name: str
    #: Who was primary before it.
    primary: str


async def _forgets(_: Unfinished | None) -> None:
    """Of a drill whose process undoes it or nobody does."""


class Drill:
    """One drill. Each step is recorded; after a bad one only the undoing follows."""

    def __init__(
        self,
        client: Client,
        killing: Killing | None,
        *,
        load: Load,
        wait_s: float,
        begins: Callable[[str], None] = lambda _: None,
        kills_none: str = "--no-kill",
        keeps: Callable[[Unfinished | None], Awaitable[None]] = _forgets,
    ) -> None:
        """`killing`: who kills the primary; None: nobody does, and `kills_none` says why. `load`: what it reads and
        pushes. `wait_s`: the patience of a step. `begins`: told each step's name. `keeps`: told what would have to be
        undone before anything is changed, and None once all is as it was; may raise DrillError."""
        self._client = client
        self._killing = killing
        self._load = load
        self._wait_s = wait_s
        self._begins = begins
        self._keeps = keeps
        #: The receipt so far; the last one may be under way.
        self.steps: list[Step] = []
        #: Steps that were left out, and why.
        self.not_tried = {} if killing else dict.fromkeys((KILLED, BACK), kills_none)
        self._name = f"drill-{secrets.token_hex(6)}"
        self._primary_before = ""
        #: The removal of its member was pushed, and may have been taken.
        self._removing = False
        #: Ends the ids of updates that may be others than those of an attempt before.
        self._attempt = ""

    def left_behind(self) -> str:
        """What is not undone, with the commands that undo it; empty where all is."""
        undoing = next((step for step in self.steps if step.name == UNDONE), Step(UNDONE))
        if not self._primary_before or undoing.good:
            return ""
        why = f" ({undoing.problem})" if undoing.problem else ""
        return (
            f"NOT undone{why}: `echo '{update_to_json(self._removal())}' | fasttree push -` removes the drill's member "
            f"with its orders, `fasttree switchover --to {self._primary_before}` gives that one its role back"
        )

    async def run(self) -> list[Step]:
        """Runs the steps; returns the receipt."""
        try:
            async with self._step(READY) as step:
                await self._begin(step)
            await self._look()
            await self._with_load()
        except FastTreeClientError:
            pass  # it is in its step
        finally:
            if self._primary_before:
                await self._undo()
        return self.steps

    async def undo(self, begun: Unfinished) -> list[Step]:
        """Undoes what a drill began whose process ended in the middle. May be asked again."""
        self._name, self._primary_before = begun
        self._removing = True  # that one may have pushed it
        self._attempt = f"-{secrets.token_hex(3)}"
        self.steps.clear()
        await self._undo()
        return self.steps

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[Step]:
        step = Step(name)
        self.steps.append(step)
        self._begins(name)
        try:
            yield step
            step.good = not step.problem
        except FastTreeClientError as error:
            step.problem = str(error)
            raise
        except asyncio.CancelledError:
            step.problem = "broken off"
            raise
        finally:
            step.over = True

    async def _begin(self, step: Step) -> None:
        view = await self._client.get_cluster()
        ready = [node.address.name for node in view.nodes if node.alive and node.status.state in _READY]
        if view.paused:
            raise DrillError("elections are paused; `fasttree resume` first")
        if not view.primary or len(ready) < 2:
            raise DrillError("a drill needs a primary and another ready node; `fasttree status` shows what is missing")
        if self._killing is not None:
            self._killing.check(ready)  # whichever is primary then
        await self._keeps(Unfinished(self._name, view.primary))
        self._primary_before = view.primary
        try:
            await self._push(self._enrolment())
        except DrillError:
            self._primary_before = ""  # refused: there is nothing to undo
            await self._keeps(None)
            raise
        await self._equal(self._client.position)
        step.figures["nodes"] = len(ready)

    async def _look(self) -> None:
        """What one look finds wrong keeps nothing else from being tried."""

        async def traffic() -> dict[str, float]:
            said = "the VIP has reads answered by others than the primary"
            await self._until(lambda: traffic_is_the_primarys(self._client, self._name[:32]), said)
            return {}

        looks: dict[str, Callable[[], Awaitable[dict[str, float]]]] = {
            IMPORTED: lambda: newest_import(self._client),
            TRAFFIC: traffic,
            HITS: lambda: hits_in_logs(self._client),
        }
        for name, look in looks.items():
            with contextlib.suppress(FastTreeClientError):
                try:
                    async with self._step(name) as step:
                        step.figures.update(await look())
                except NotTriedError as error:
                    self.steps.remove(step)
                    self.not_tried[name] = str(error)

    async def _with_load(self) -> None:
        member = self._name[:32]
        reads = Reads(self._client.endpoints.vip, member, self._load, self._client.tls)
        orders = Orders(self._client, member, self._name, self._load)
        async with reads, orders:
            await asyncio.sleep(_SETTLE_S)
            async with self._step(SWITCHOVER) as step:
                await self._switchover(step, reads)
            if self._killing is not None:
                async with self._step(KILLED) as step:
                    killed = await self._kill_primary(step, reads, self._killing)
                async with self._step(BACK) as step:
                    await self._back(step, killed, self._killing)
            async with self._step(NOTHING_LOST) as step:
                await orders.finish()
                await self._count(step, orders)
            async with self._step(READS) as step:
                step.figures.update(good=len(reads.good), failed=sum(reads.failures.values()))
                if reads.failures:
                    raise DrillError(f"reads failed: {reads.failures.most_common(1)[0][0]}{reads.own_fault}")

    async def _switchover(self, step: Step, reads: Reads) -> None:
        begun = time.monotonic()
        answer = await self._client.switchover(timeout_s=self._wait_s)
        await asyncio.sleep(_SETTLE_S)
        step.figures.update(switchover_ms=answer.took_ms, longest_gap_ms=round(reads.longest_gap_ms(begun), 1))

    async def _kill_primary(self, step: Step, reads: Reads, killing: Killing) -> str:
        view = await self._client.get_cluster()
        killed = view.primary
        begun = asyncio.Event()
        watching = asyncio.create_task(self._watch_election(killed, begun))
        try:
            async with asyncio.timeout(self._wait_s):
                await begun.wait()
            killed_at = time.monotonic()
            await killing.kill(killed)
            async with asyncio.timeout(self._wait_s):
                noticed_at, elected_at = await watching
        except TimeoutError:
            raise DrillError(f"no new primary within {self._wait_s:g} s; `fasttree status` says why") from None
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await asyncio.sleep(_SETTLE_S)
        step.figures.update(
            detection_ms=round((noticed_at - killed_at) * 1e3, 1),
            election_ms=round((elected_at - killed_at) * 1e3, 1),
            longest_gap_ms=round(reads.longest_gap_ms(killed_at - 0.5), 1),
        )
        first = reads.first_after_ms(killed_at)
        if first is None:
            raise DrillError("no read was answered after the kill")
        step.figures["first_good_read_ms"] = round(first, 1)
        return killed

    async def _watch_election(self, killed: str, begun: asyncio.Event) -> tuple[float, float]:
        """When the coordinator gave the killed primary up, and when it had another."""
        noticed_at = 0.0
        async for view in self._client.watch_cluster():
            begun.set()
            if view.primary != killed and not noticed_at:
                noticed_at = time.monotonic()
            if view.primary not in ("", killed):
                return noticed_at, time.monotonic()
        raise AssertionError("a watch of the cluster never ends by itself")

    async def _back(self, step: Step, killed: str, killing: Killing) -> None:
        begun = time.monotonic()

        async def is_back() -> bool:
            view = await self._client.get_cluster()
            node = next((node for node in view.nodes if node.address.name == killed), None)
            is_good = node is not None and node.alive and node.status.state in _READY
            return is_good and killing.is_started_again()

        await self._until(is_back, f"{killed} is not back; is it started again by `fasttree up` or by its service?")
        step.figures["back_s"] = round(time.monotonic() - begun, 2)

    async def _count(self, step: Step, orders: Orders) -> None:
        """Every acknowledged order is one hundredth on the drill's member, on every node."""
        step.figures.update(acknowledged=orders.acknowledged, refused=orders.refused)
        await self._equal(orders.position)
        lost = twice = 0
        for node in await self._client.nodes():
            answer = await self._client.reports_at(node).get_member(self._name[:32])
            lost = max(lost, orders.acknowledged - answer.member.pv_hundredths)
            twice = max(twice, answer.member.pv_hundredths - orders.acknowledged)
        step.figures.update(lost=lost, twice=twice)
        if lost or twice:
            raise DrillError(
                f"{counted(lost, 'order with a receipt is', 'orders with a receipt are')} missing, "
                f"{counted(twice, 'counts', 'count')} twice; keep all logs and state"
            )

    async def _equal(self, position: int) -> None:
        """All nodes at a position with the same digest."""
        digests = await asyncio.gather(
            *(self._client.get_digest(node.instant, position) for node in await self._client.nodes())
        )
        if len({(answer.as_of.import_id, answer.as_of.position, answer.digest) for answer in digests}) != 1:
            raise DrillError("the nodes do not hold the same; `fasttree verify` shows where they differ")

    async def _undo(self) -> None:
        """The drill's member goes, and the primary of before comes back.

        With a step's patience: a node that the drill has killed may be away, and so may anything else.
        """
        try:
            async with self._step(UNDONE) as step:
                await self._until(lambda: self._take_back(step), "the drill's member was not removed")

                async def is_primary() -> bool:
                    if (await self._client.get_cluster()).primary != self._primary_before:
                        await self._client.switchover(self._primary_before, timeout_s=self._wait_s)
                    return (await self._client.get_cluster()).primary == self._primary_before

                await self._until(is_primary, f"{self._primary_before} did not become primary again")

                async def is_equal() -> bool:
                    await self._equal(self._client.position)
                    return True

                await self._until(is_equal, "the nodes can't be compared")
            await self._keeps(None)
        except FastTreeClientError:
            pass  # it is in its step

    async def _take_back(self, step: Step) -> bool:
        """Returns the orders and removes the member. Each update has an id of its own: all may be done again."""
        await self._push(self._enrolment())  # whether the first one was taken is not known for certain
        try:
            answer = await self._client.reports.get_member(self._name[:32])
        except NotFoundError:
            if not self._removing:
                raise
        else:
            if taken := answer.member.pv_hundredths:
                back = types_pb2.VolumePosted(member_id=self._name[:32], amount_hundredths=-taken)
                await self._push(types_pb2.Update(update_id=f"{self._name}-return{self._attempt}", volume_posted=back))
                step.figures["orders_returned"] = taken
        self._removing = True
        await self._push(self._removal())
        return True

    def _enrolment(self) -> types_pb2.Update:
        enrolled = types_pb2.MemberEnrolled(member_id=self._name[:32])
        return types_pb2.Update(update_id=f"{self._name}-enrol", member_enrolled=enrolled)

    def _removal(self) -> types_pb2.Update:
        """With all that the member has, whatever the rules say of removals."""
        removed = types_pb2.MemberRemoved(member_id=self._name[:32], volume=types_pb2.REMOVAL_VOLUME_LEAVES)
        return types_pb2.Update(update_id=f"{self._name}-remove", member_removed=removed)

    async def _push(self, update: types_pb2.Update) -> None:
        async for receipt in self._client.push([update]):
            if receipt.code:
                raise DrillError(f"{receipt.update_id} was refused: {receipt.message}")

    async def _until(self, condition: Callable[[], Awaitable[Any]], problem: str) -> None:
        deadline = time.monotonic() + self._wait_s
        last = ""
        while time.monotonic() < deadline:
            try:
                if await condition():
                    return
            except CallError as error:
                last = f" ({error})"
            await asyncio.sleep(0.05)
        raise DrillError(f"{problem}; waited {self._wait_s:g} s{last}")
