"""Several servers of which one is active: whose turn it is to be asked."""

from __future__ import annotations


class Turns:
    """Asks one after another, until one answers.

    Args:
        addresses: host:port of each, with commas between.
    """

    def __init__(self, addresses: str) -> None:
        self._addresses = tuple(addresses.split(","))
        self._place = self._in_vain = 0

    @property
    def address(self) -> str:
        """Who is asked now."""
        return self._addresses[self._place]

    def answered(self) -> None:
        """It is the right one."""
        self._in_vain = 0

    def pass_on(self) -> bool:
        """The next one's turn. Whether each was asked in vain by now: then it is time to wait a while."""
        self._place = (self._place + 1) % len(self._addresses)
        self._in_vain += 1
        if self._in_vain >= len(self._addresses):
            self._in_vain = 0
            return True
        return False
