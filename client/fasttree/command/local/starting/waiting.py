"""Waits for each part of a cluster that starts, and says whom it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fasttree.client.calls.channels import Channels
from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.local.parts import ClusterPlan
from fasttree.command.local.starting.complaints import complaints
from fasttree.command.local.supervisor import Supervisor
from fasttree.command.session import CommandError

_POLL_S = 0.05
#: How often somebody who waits for a part is told what its log ends with.
_TELL_S = 10.0
_LOG_LINES_SHOWN = 5
#: What is waited for, by the health service that is asked.
_AWAITED = {"": "answer", "ready": "be ready", "primary": "lead to a primary"}


async def wait_until_ready(
    home: ClusterFolder, plan: ClusterPlan, supervisor: Supervisor, say: Callable[[str], None], timeout_s: float
) -> None:
    """Until every part says that it is. Raises CommandError where one ends meanwhile, or the time is over."""
    wait = _Wait(home, supervisor, say)
    channels = Channels(plan.tls)
    try:
        async with asyncio.timeout(timeout_s):
            for name, address, service in plan.health():
                await wait.until_healthy(channels, name, address, service)
    except TimeoutError:
        raise CommandError(f"not ready after {timeout_s:g} s: {wait.standing}{wait.log_end()}") from None
    finally:
        await channels.close()


class _Wait:
    """One start's."""

    def __init__(self, home: ClusterFolder, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        self._home, self._supervisor, self._say = home, supervisor, say
        self._for = ""

    @property
    def standing(self) -> str:
        """Whom it waits for, and what parts say is wrong."""
        return f"waits for {self._for}{complaints(self._supervisor.all_written())}"

    async def until_healthy(self, channels: Channels, name: str, address: str, service: str) -> None:
        """Until the health service there says SERVING; a part that dies meanwhile ends the start."""
        self._for = f"{name} at {address} to {_AWAITED[service]}"
        stub = health_pb2_grpc.HealthStub(channels.to(address))
        tell_s = time.monotonic() + _TELL_S
        while True:
            if time.monotonic() > tell_s:
                tell_s += _TELL_S
                self._say(f"{self.standing}{self.log_end(name)}")
            for part in self._supervisor.failed:
                raise CommandError(f"{part} ended while it started{self.log_end(part)}")
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=1.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(_POLL_S)

    def log_end(self, name: str = "") -> str:
        """The last lines that a part wrote to its log since this start, for a line's end."""
        path = self._home.log(name)
        lines = self._supervisor.written(name).splitlines()[-_LOG_LINES_SHOWN:]
        if not lines:
            return f"; logs: {path.parent}"
        return f"; {path} ends with: {' | '.join(lines)}"
