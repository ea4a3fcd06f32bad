"""Who tells of a fault, what, and after how many seconds: the page, the alerts, the commands; each word counts once,
where it was not said before.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from opentelemetry.sdk.trace import TracerProvider

from bench.cluster.cluster import RunningCluster
from bench.servers.prometheus import firing
from fasttree.client import Client, FastTreeClientError
from fasttree.v1 import types_pb2

POLL_S = 0.2
#: A whole trace has come by then, or does not come while the fault lasts.
TRACE_S = 5.0
_COMMAND_S = 45.0
_MOVES: Final = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?(?= (?:s|ms|bytes|GB|updates?)\b)")


@dataclass
class Told:
    """By one of those who tell."""

    #: Seconds from the fault to each word of it.
    after_s: dict[str, float] = field(default_factory=dict)


class Watching:
    """Of one cluster that is well. `console`, `alerts`: sessions to the console and to Prometheus."""

    def __init__(
        self,
        cluster: RunningCluster,
        client: Client,
        console: aiohttp.ClientSession,
        alerts: aiohttp.ClientSession,
        spans: Callable[[bytes], list[tuple[str, str]]],
    ) -> None:
        """`spans`: what a collector has of a trace, as name and service instance."""
        self._cluster = cluster
        self._client = client
        self._console = console
        self._alerts = alerts
        self._spans = spans

    @property
    def _sources(self) -> dict[str, Callable[[], Awaitable[set[str]]]]:
        return {
            "page": self.page,
            "alerts": self.alerts,
            "status": lambda: self.command("status"),
            "doctor": lambda: self.command("doctor"),
        }

    async def baseline(self) -> dict[str, set[str]]:
        """What each says already."""
        return {name: await look() for name, look in self._sources.items()}

    async def watch(self, before: dict[str, set[str]], since: float, patience_s: float) -> dict[str, Told]:
        """Until each of them has said something new and a round more, or nobody has patience any more. `since`: the
        fault's moment, of the monotonic clock."""
        told = {name: Told() for name in self._sources}

        async def follow(name: str, look: Callable[[], Awaitable[set[str]]]) -> None:
            last = False
            while time.monotonic() - since < patience_s and not last:
                last = bool(told[name].after_s)
                for text in await look() - before[name] - told[name].after_s.keys():
                    told[name].after_s[text] = round(time.monotonic() - since, 1)
                await asyncio.sleep(POLL_S if not told[name].after_s else 3.0)

        await asyncio.gather(*(follow(name, look) for name, look in self._sources.items()))
        return told

    async def page(self) -> set[str]:
        """What stands on top of the console's page of the cluster."""
        try:
            async with self._console.get("/api/state") as answer:
                return {_still(one["text"]) for one in (await answer.json())["problems"]}
        except aiohttp.ClientError:
            return set()

    async def alerts(self) -> set[str]:
        """Those that fire."""
        return set(await firing(self._alerts))

    async def command(self, name: str) -> set[str]:
        """What `fasttree status` or `fasttree doctor` finds, as a process like any."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "fasttree.command", name, "--json",
            "--endpoints", str(self._cluster.folder / "endpoints.json"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_COMMAND_S):
                out, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return {f"nothing within {_COMMAND_S:g} s"}
        content = json.loads(out or b"{}")
        found = content.get("problems") or content.get("findings") or []
        return {_still(one if isinstance(one, str) else one["text"]) for one in found}

    async def trace(self, member_id: str) -> str:
        """An order with a trace: how far its spans go."""
        update = types_pb2.Update(
            update_id=f"evening-{secrets.token_hex(6)}",
            volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=1),
        )
        with TracerProvider().get_tracer("evening").start_as_current_span("order") as caller:
            trace_id = caller.get_span_context().trace_id.to_bytes(16, "big")
            try:
                async with asyncio.timeout(TRACE_S):
                    async for receipt in self._client.push([update]):
                        if receipt.code:
                            return f"none: the order is refused: {receipt.message}"
            except TimeoutError:
                return "none: nobody takes the order while this lasts"
            except FastTreeClientError as error:
                return f"none: {error}"
        await asyncio.sleep(TRACE_S)
        spans = sorted(set(self._spans(trace_id)))
        return ", ".join(f"{name} ({where})" if where else name for name, where in spans) or "no span came"


def _still(text: str) -> str:
    """Without the figures that move while a fault lasts, so that one sentence counts once."""
    return _MOVES.sub("…", text)
