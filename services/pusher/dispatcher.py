"""Who is told of what happens in the pusher, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

#: For each kind of news, by its class, those who are told, in this order.
Listeners: TypeAlias = Mapping[type, Sequence[Callable[[Any], None]]]


class Dispatcher:
    """Passes news on, at once. The parts of the pusher are given `tell`, and know nothing of each other."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners

    def tell(self, news: object) -> None:
        """Everyone concerned has taken it when this returns. Raises KeyError where nobody ever listens."""
        for listener in self._listeners[type(news)]:
            listener(news)
