"""A collection of objects and every change of it, for as long as somebody wants to know.

The API server is asked for all of them once, then for what happens from that version on. A watch that ends goes on
where it was; one whose version the API server has forgotten (410) begins with all of them again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.shared.backoff import Backoff, Waits
from services.shared.kubernetes.api import KubernetesApi, KubernetesError, Object

#: A watch is asked to end after this long, and is taken for dead after so long without a word, in seconds.
_WATCH_S = 30
_SILENCE_S = 45.0
#: One that stood for so long was a good one, in seconds.
_STEADY_S = 5.0
_WAIT_INITIAL_S, _WAIT_MAX_S = 0.2, 10.0
_GONE = 410


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects that there are."""

    objects: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """An object is there, or is otherwise; or is `gone`."""

    object: Object
    gone: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """The API server can't be asked now: what is known stays."""

    problem: str


class Watch:
    """One collection, by path and label selector."""

    def __init__(
        self,
        api: KubernetesApi,
        path: Callable[[], str],
        selector: str,
        tell: Callable[[Listed | Changed | Failed], None],
    ) -> None:
        """`path` may raise KubernetesError: it is asked again then."""
        self._api, self._path, self._tell = api, path, tell
        self._query = {"labelSelector": selector}
        #: How far what was told goes; empty: all are to be asked for.
        self._version = ""

    async def run(self) -> None:
        """Until it is cancelled."""
        waits = Waits(Backoff(_WAIT_INITIAL_S, _WAIT_MAX_S, random.random))
        while True:
            began_s = time.monotonic()
            try:
                await self._go_on(self._path())
            except KubernetesError as error:
                if error.status == _GONE:
                    self._version = ""
                else:
                    self._tell(Failed(str(error)))
            if time.monotonic() - began_s >= _STEADY_S:
                waits.reset()
            await asyncio.sleep(waits.next_s())

    async def _go_on(self, path: str) -> None:
        if not self._version:
            listed = await self._api.get(path, self._query)
            objects = tuple(each for each in listed.get("items") or () if isinstance(each, dict))
            self._version = _version_of(listed)
            self._tell(Listed(objects))
        query = {
            **self._query,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_S),
        }
        async for event in self._api.watch(path, query, _SILENCE_S):
            self._take(event)

    def _take(self, event: Object) -> None:
        kind, about = event.get("type"), event.get("object")
        if not isinstance(about, dict):
            raise KubernetesError("Kubernetes: a watch brought something that is no object")
        if kind == "ERROR":
            code = about.get("code")
            raise KubernetesError(
                f"Kubernetes: the watch ended: {about.get('message', '')}", code if isinstance(code, int) else 0
            )
        version = _version_of(about)
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            self._tell(Changed(about, gone=kind == "DELETED"))
        self._version = version


def _version_of(about: Object) -> str:
    metadata = about.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version:
        raise KubernetesError("Kubernetes: an answer without a resourceVersion: is this the API server?")
    return version
