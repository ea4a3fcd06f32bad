"""Who pushes: several at a time, in order, again until each has a receipt, to whichever pushers it comes to."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.simulator.turns.stores import BrokenPromiseError

if TYPE_CHECKING:
    from tests.simulator.turns.world import World

_WINDOW = 3
_AGAIN_S = 0.05


class Client:
    """One; its ids are its own."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self._numbers = itertools.count(1)
        #: Without a receipt, in order; with the time that each was pushed first.
        self._waiting: dict[str, float] = {}
        #: By the number of an update, where it stands.
        self._places: dict[int, int] = {}
        #: Of what has a receipt: when the newest was pushed.
        self.newest_taken_s = 0.0

    def start(self) -> None:
        """Fills its window, and pushes all of it, to one pusher or to two."""
        world = self.world
        while len(self._waiting) < _WINDOW:
            self._waiting[f"{self.name}-{next(self._numbers)}"] = world.now_s
        pushers = list(world.pushers.values())
        update_ids = list(self._waiting)
        for pusher in world.random.sample(pushers, world.random.choice((1, 2))):
            world.send(lambda pusher=pusher: pusher.push(update_ids, self.receipts))  # type: ignore[misc]
        world.later(_AGAIN_S, self.start)

    def receipts(self, positions: dict[str, int]) -> None:
        """Of one message, in its order."""
        for update_id, position in positions.items():
            self.world.acknowledge(update_id, position)
            pushed_s = self._waiting.pop(update_id, None)
            if pushed_s is None:
                continue  # it has one already, by another pusher
            self.newest_taken_s = max(self.newest_taken_s, pushed_s)
            number = int(update_id.rpartition("-")[2])
            before, behind = (self._places.get(number + step) for step in (-1, 1))
            if (before is not None and before > position) or (behind is not None and behind < position):
                raise BrokenPromiseError(
                    f"order: {update_id} stands at {position}, its neighbours at {before}, {behind}"
                )
            self._places[number] = position
