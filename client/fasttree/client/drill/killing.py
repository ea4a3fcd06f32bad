"""How a drill kills a node: its process on this machine, by the endpoints file, or a command for one elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from fasttree.client.drill.node_process import check_process, for_node, kill_process
from fasttree.client.drill.receipt import DrillError
from fasttree.client.endpoints import Endpoints, NodeEndpoint


class Killing(Protocol):
    """Of one drill."""

    def check(self, names: Iterable[str]) -> None:
        """Whether each of these could be killed. Raises DrillError."""

    async def kill(self, name: str) -> None:
        """Raises DrillError; then nothing was killed."""

    def is_started_again(self) -> bool:
        """Whether what was killed is another process now, as far as can be seen from here."""


class KillProcess:
    """A node of this machine. `endpoints` reads the file anew: a process that was started again has another number."""

    def __init__(self, endpoints: Callable[[], Endpoints]) -> None:
        self._endpoints = endpoints
        self._pid = 0

    def check(self, names: Iterable[str]) -> None:
        for name in names:
            check_process(self._node(name))

    async def kill(self, name: str) -> None:
        node = self._node(name)
        kill_process(node)
        self._pid = node.pid

    def is_started_again(self) -> bool:
        return all(node.pid != self._pid for node in self._endpoints().nodes)

    def _node(self, name: str) -> NodeEndpoint:
        for node in self._endpoints().nodes:
            if node.name == name and node.pid:
                return node
        raise DrillError(
            f"{name} is on another machine: say how to kill a node with `fasttree drill --kill-command`, or kill none "
            "(--no-kill)"
        )


class KillByCommand:
    """A node anywhere, by a shell's command with `{node}` in it."""

    def __init__(self, command: str) -> None:
        self._command = command

    def check(self, names: Iterable[str]) -> None:
        """Only its run shows whether it does."""

    async def kill(self, name: str) -> None:
        process = await asyncio.create_subprocess_shell(for_node(self._command, name))
        if await process.wait() != 0:
            raise DrillError(f"--kill-command ended with {process.returncode}")

    def is_started_again(self) -> bool:
        return True
