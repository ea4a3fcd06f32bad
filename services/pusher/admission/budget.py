"""How many updates may be under way at once."""

from __future__ import annotations


class BudgetBrokenError(Exception):
    """More was given back than was taken: a fault of the program."""


class Budget:
    """A number of updates, taken and given back batch by batch."""

    __slots__ = ("taken", "updates_max")

    def __init__(self, updates_max: int) -> None:
        self.updates_max = updates_max
        #: Never negative. Above `updates_max` only while one batch that is larger than all of it goes alone.
        self.taken = 0

    def has_room(self, cost: int) -> bool:
        """Whether a batch may go now. One that is larger than the whole budget goes alone."""
        return not self.taken or self.taken + cost <= self.updates_max

    def take(self, cost: int) -> None:
        """A batch goes."""
        self.taken += cost

    def give_back(self, cost: int) -> None:
        """A batch has arrived."""
        if cost > self.taken:
            raise BudgetBrokenError(f"{cost} is given back, but only {self.taken} was taken")
        self.taken -= cost
