"""So many states are open at once; who waits for one gets it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.shared.serving.errors import ResourceExhaustedError
from services.treenode.periods.opened import Opened
from tests.waiting import until


class Opening:
    """Counts what is opened; fails where it is told to."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.fail = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self, key: str) -> str:
        self.go.wait()
        self.opened.append(key)
        if self.fail:
            raise OSError("the disk")
        return key.upper()


async def test_the_one_longest_not_asked_for_is_given_up() -> None:
    opening = Opening()
    opened = Opened(2, 10, opening)
    for key in ("a", "b", "a", "c", "a", "b"):
        async with opened.use(key) as state:
            assert state == key.upper()
        assert opened.count <= 2
    assert opening.opened == ["a", "b", "c", "b"]


async def test_one_that_is_had_stays_and_the_next_waits_for_it() -> None:
    opening = Opening()
    opened = Opened(1, 1, opening)
    done = asyncio.Event()

    async def have(key: str) -> str:
        async with opened.use(key) as state:
            await done.wait()
            return state

    first, second = asyncio.ensure_future(have("a")), asyncio.ensure_future(have("a"))
    await until(lambda: opening.opened == ["a"], "a")
    waiting = asyncio.ensure_future(have("b"))
    await asyncio.sleep(0.05)
    with pytest.raises(ResourceExhaustedError, match="wait for a closed period"):
        await have("c")
    assert opening.opened == ["a"]
    done.set()
    assert [await first, await second, await waiting] == ["A", "A", "B"]


async def test_a_failure_is_everybodys_and_the_next_call_tries_anew() -> None:
    opening = Opening()
    opening.fail = True
    opened = Opened(1, 1, opening)
    opening.go.clear()

    async def have() -> str:
        async with opened.use("a") as state:
            return state

    calls = [asyncio.ensure_future(have()) for _ in range(3)]
    await asyncio.sleep(0.05)
    opening.go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(each) for each in results] == ["the disk"] * 3
    assert (opening.opened, opened.count) == (["a"], 0)
    opening.fail = False
    assert await have() == "A"


async def test_a_call_that_goes_away_leaves_nothing_behind() -> None:
    opening = Opening()
    opening.go.clear()
    opened = Opened(1, 1, opening)

    async def have(key: str) -> str:
        async with opened.use(key) as state:
            return state

    call = asyncio.ensure_future(have("a"))
    await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.wait({call})
    opening.go.set()
    assert await have("b") == "B"
    assert opened.count == 1
