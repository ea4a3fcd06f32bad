"""An object store as it behaves from outside, and what a node has of it in its hands: the product's own interface.

Requests come late, or never where a node is cut off or the store is away; what was asked may be done although nobody
hears so, also after whoever asked has given up, or died. Asking again, as clients of buckets do by themselves, then
finds one's own object in the way. Several objects are removed one by one, in any order. Under `stale_s` a list is of a
while ago, of each key its own while, as a mount's may be.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, TypeVar

from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError, StoreAwayError
from tests.simulator.stored.checker import StoreChecker
from tests.simulator.stored.loop import VirtualLoop
from tests.simulator.world import Process, World

Result = TypeVar("Result")

PLACE = "the bucket"
REQUEST_S, TIMEOUT_S = 0.03, 2.0
#: How long what was is remembered, for lists that are stale.
_PAST_S = 10.0


class Bucket:
    """Objects by name, and what is wrong with the store just now. Draws of its own."""

    def __init__(self, world: World, checker: StoreChecker) -> None:
        self.world, self.checker = world, checker
        self.random = Random(f"bucket {world.seed}")
        self.objects: dict[str, bytes] = {}
        #: How often a client asks again by itself: a bucket's does, a mount does not.
        self.retries = self.random.choice((0, 1))
        self.is_away = False
        #: Nodes that can't reach it.
        self.cut_off: set[str] = set()
        #: A request, and an answer, take up to so much longer.
        self.slow_s = 0.0
        #: Chance that an answer is lost.
        self.lost_chance = 0.0
        self.stale_s = 0.0
        #: The sizes after each change, with its time.
        self._past: deque[tuple[float, dict[str, int]]] = deque([(0.0, {})])

    def heal(self) -> None:
        """All is well again; what is damaged stays so."""
        self.is_away, self.slow_s, self.lost_chance, self.stale_s = False, 0.0, 0.0, 0.0
        self.cut_off.clear()

    def delay_s(self) -> float:
        """How long a request takes to get there, or an answer back."""
        return self.random.random() * REQUEST_S + self.slow_s * self.random.random() ** 2

    # ---- what is asked of it

    def put_new(self, name: str, data: bytes) -> bool:
        """Puts an object where none has the name."""
        if name in self.objects:
            return False
        self.put(name, data)
        return True

    def put(self, name: str, data: bytes) -> None:
        """Puts an object, whatever is there."""
        before, self.objects[name] = self.objects.get(name), data
        self._changed()
        self.checker.was_put(self.objects, name, before)

    def get(self, name: str) -> bytes | None:
        return self.objects.get(name)

    def sizes(self, prefix: str) -> tuple[dict[str, int], bool]:
        """The list, and whether it is of now."""
        now = self._past[-1][1]
        keys = {name.partition("/")[0]: None for _, sizes in self._past for name in sizes}
        seen: dict[str, int] = {}
        for key in keys:
            at_s = self.world.now - self.stale_s * self.random.random() if self.stale_s else self.world.now
            was = next((sizes for when, sizes in reversed(self._past) if when <= at_s), self._past[0][1])
            seen |= {name: size for name, size in was.items() if name.startswith(f"{key}/")}
        chosen = {name: size for name, size in seen.items() if not prefix or name.startswith(f"{prefix}/")}
        return chosen, seen == now

    def remove(self, name: str) -> None:
        before = self.objects.pop(name, None)
        if before is not None:
            self._changed()
            self.checker.was_removed(self.objects, name, before)

    def rot(self, name: str, data: bytes | None) -> None:
        """Something happens to an object that nobody asked for."""
        self.checker.was_spoiled(name)
        if data is None:
            del self.objects[name]
        else:
            self.objects[name] = data
        self._changed()

    def _changed(self) -> None:
        now = self.world.now
        self._past.append((now, {name: len(data) for name, data in self.objects.items()}))
        while len(self._past) > 1 and self._past[1][0] < now - _PAST_S:
            self._past.popleft()


class BucketObjects:
    """See `Objects` (`services/shared/objects/objects.py`): the store, for one life of a node."""

    place = PLACE

    def __init__(self, bucket: Bucket, process: Process, loop: VirtualLoop) -> None:
        self._bucket, self._process, self._loop = bucket, process, loop
        self._life = process.life
        #: How often it was not answered as it should be: late, not at all, with a list of before.
        self.troubles = 0

    def full_name(self, name: str) -> str:
        return f"bucket/{name}"

    async def put_new(self, name: str, data: bytes) -> bool:
        return await self._ask(lambda: self._bucket.put_new(name, data))

    async def get(self, name: str, bytes_max: int) -> bytes:
        data = await self._ask(lambda: self._bucket.get(name))
        if data is None:
            raise ObjectMissingError(name)
        if len(data) > bytes_max:
            raise ObjectDamagedError(
                f"{self.full_name(name)} has {len(data)} bytes, it should have {bytes_max} at most"
            )
        return data

    async def sizes(self, prefix: str) -> dict[str, int]:
        found, is_fresh = await self._ask(lambda: self._bucket.sizes(prefix))
        self.troubles += not is_fresh
        return found

    async def remove(self, names: Sequence[str]) -> None:
        for name in self._bucket.random.sample(list(names), len(names)):
            await self._ask(partial(self._bucket.remove, name))

    async def _ask(self, do: Callable[[], Result]) -> Result:
        for _ in range(self._bucket.retries + 1):
            if self._loop.is_over:
                break  # nothing leaves a process that is gone
            answer = self._loop.create_future()
            self._bucket.world.after(self._bucket.delay_s(), self._arrive, do, answer)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    result: Result = await answer
                    return result
            except TimeoutError:
                self.troubles += 1
            except StoreAwayError:
                self.troubles += 1
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                self.troubles += 1  # too late for whoever waited for it
                raise
        raise StoreAwayError(PLACE, "no answer")

    def _arrive(self, do: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        bucket = self._bucket
        if self._process.name in bucket.cut_off:
            return
        result = StoreAwayError(PLACE, "it answers 503") if bucket.is_away else do()
        if bucket.random.random() >= bucket.lost_chance:
            back = (self._life, _answer, (answer, result))
            bucket.world.after(bucket.delay_s(), self._process.run, *back)


def _answer(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return  # nobody waits for it any more
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
