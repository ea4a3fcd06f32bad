"""Runs the real `fasttree` command as a process of its own, the way a shell does. Whatever it prints as JSON is held to
the shape that docs/commands.md has of it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fasttree.client import Endpoints
from tests.command.printed import check_printed

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Ran:
    """What came of it."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class FastTree:
    """The command, with the cluster that it talks to."""

    def __init__(self, folder: Path, endpoints: Endpoints) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.endpoints_path = folder / "endpoints.json"
        endpoints.write(self.endpoints_path)

    async def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        return await self._run(asyncio.subprocess.PIPE, stdin.encode(), *arguments)

    async def at_a_terminal(self, *arguments: str, types: str) -> Ran:
        """The same, for somebody who can be asked and has typed the answer already."""
        keyboard, terminal = pty.openpty()
        try:
            os.write(keyboard, types.encode())
            return await self._run(terminal, None, *arguments)
        finally:
            os.close(keyboard)
            os.close(terminal)

    async def _run(self, stdin: int, typed: bytes | None, *arguments: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fasttree.command",
            *arguments,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._folder,
            env={**os.environ, "FASTTREE_ENDPOINTS": str(self.endpoints_path)},
        )
        out, err = await asyncio.wait_for(process.communicate(typed), TIMEOUT_S)
        ran = Ran(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in ran.err, ran.err
        check_printed(arguments, ran.out)
        return ran
