"""The simulator's network: what a stream's sides may count on, whenever a link is cut and healed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.simulator.network import BROKEN, End, Network
from tests.simulator.world import Clock, Process, World

#: In which all of it is over: a cut of up to `CUT_S_MAX`, a keepalive after it, and another for the other side.
CUT_S_MAX, OVER_S = 6.0, 20.0


class Host(Process):
    """Takes any stream; keeps what came and how it ended."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, Clock(world, 0.0, 1.0))
        self.heard: list[Any] = []
        self.ends: list[End] = []
        self.start()

    def accept(self, kind: str, end: End, opening: Any) -> None:
        self.keep(end)

    def keep(self, end: End) -> None:
        self.ends.append(end)
        end.on_message = self.heard.append
        end.on_end = self.heard.append


class Pair:
    """Two processes, and one stream between them that both know."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self.client, self.server = Host(self.world, "client"), Host(self.world, "server")
        self.client.keep(self.network.connect(self.client, self.server, "any"))
        self.world.run(0.1)

    def cut(self, for_s: float, *, both: bool) -> None:
        """Nothing gets from the server to the client for so long; nor back."""
        for link in (("server", "client"), ("client", "server"))[: 1 + both]:
            self.network.cut(*link)
            self.world.after(for_s, self.network.heal, *link)

    def over(self) -> None:
        """All that is to come has come."""
        self.world.run(self.world.now + OVER_S)
        self.network.validate(OVER_S / 2)


@pytest.mark.parametrize("both", [False, True], ids=["one-way", "both-ways"])
def test_what_was_sent_before_an_orderly_end_comes_when_the_link_heals_or_the_stream_is_broken(both: bool) -> None:
    ended: Counter[str] = Counter()
    for seed in range(80):
        pair = Pair(seed)
        pair.cut(CUT_S_MAX * seed / 80, both=both)
        pair.world.run(0.2)
        pair.server.ends[0].send(1)
        pair.server.ends[0].send(2)
        pair.server.ends[0].close("done")
        pair.over()
        assert pair.client.heard in ([1, 2, "done"], [BROKEN]), f"seed {seed}"
        ended[pair.client.heard[-1]] += 1
    assert min(ended["done"], ended[BROKEN]) > 20


def test_no_side_waits_for_ever_for_one_that_gave_the_stream_up() -> None:
    gone: Counter[tuple[bool, bool]] = Counter()
    for seed in range(80):
        pair, cut_s = Pair(seed), 2.0 + 2.0 * seed / 80
        pair.cut(cut_s, both=True)
        pair.world.run(pair.world.now + cut_s)
        gone[pair.client.ends[0].open, pair.server.ends[0].open] += 1
        pair.over()
        heard = pair.client.heard, pair.server.heard
        assert heard in (([], []), ([BROKEN], [BROKEN])), f"seed {seed}"
    # When the link healed: none had given up, only one, or both.
    assert min(gone[True, True], gone[True, False], gone[False, True], gone[False, False]) > 3


def test_what_waits_in_a_process_that_dies_is_lost_and_the_other_side_learns_of_it() -> None:
    pair = Pair(1)
    pair.cut(1.0, both=True)
    pair.server.ends[0].send(1)
    pair.server.ends[0].close("done")
    pair.server.crash()
    pair.network.died(pair.server, reset=True)
    pair.over()
    assert pair.client.heard == [BROKEN]


def test_a_snapped_stream_loses_what_waited_in_it() -> None:
    pair = Pair(1)
    pair.cut(1.0, both=True)
    pair.server.ends[0].send(1)
    pair.server.ends[0].close("done")
    pair.network.snap(pair.server.ends[0])
    pair.over()
    assert pair.client.heard == [BROKEN]


def test_one_that_waits_for_nobody_is_found() -> None:
    pair = Pair(1)
    pair.server.ends[0].over()
    pair.world.run(9.0)
    pair.network.validate(9.5)
    with pytest.raises(AssertionError, match=r"client waits for server, which ended it at 0\.1"):
        pair.network.validate(8.0)
