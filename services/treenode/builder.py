"""Runs `import_process` and takes the tree that it builds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from services.treenode.import_process import BuildMessage, BuildRequest, Built, Refused
from services.treenode.state_file import read_state
from services.treenode.tree import Tree

#: One line of the process's output.
LINE_BYTES_MAX = 1024**2


class ImportRefusedError(Exception):
    """The file is bad; nothing of it was taken."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


class BuildFailedError(Exception):
    """The process died, for no fault of the file that it could tell."""


async def build_tree(request: BuildRequest, tell: Callable[[BuildMessage], None]) -> Tree:
    """The tree of an import file, built in another process.

    Raises:
        ImportRefusedError: The file is bad.
        BuildFailedError: The process died; the text says how.
    """
    # The state goes through memory that has no name: nothing is left of it, whoever dies.
    descriptor = os.memfd_create(f"import-{request.import_id}")
    try:
        await _run(request, descriptor, tell)
        state = await asyncio.to_thread(read_state, Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
    return await asyncio.to_thread(Tree.from_state, state.meta, state.arrays)


async def _run(request: BuildRequest, descriptor: int, tell: Callable[[BuildMessage], None]) -> None:
    # By a thread: the loop's own way forks, which takes the longer the larger this process is.
    starting = asyncio.ensure_future(asyncio.to_thread(_start, request, descriptor))
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        (await starting).kill()
        raise
    try:
        built = await _listen(process, tell)
        code = await asyncio.to_thread(process.wait)
    finally:
        process.kill()
        await asyncio.shield(asyncio.to_thread(process.wait))
    if code != 0 or not built:
        raise BuildFailedError(f"the process that reads import {request.import_id} ended with code {code}")


def _start(request: BuildRequest, descriptor: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "services.treenode.import_process", str(descriptor)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(descriptor,))
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once: its exit code tells
        process.stdin.write(msgspec.json.encode(request))
        process.stdin.close()
    return process


async def _listen(process: subprocess.Popen[bytes], tell: Callable[[BuildMessage], None]) -> bool:
    """Passes on what the process tells until it ends; whether it built the tree. Raises ImportRefusedError."""
    decoder = msgspec.json.Decoder(BuildMessage)
    lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), process.stdout
    )
    built = False
    try:
        async for line in lines:
            message = decoder.decode(line)
            if isinstance(message, Refused):
                raise ImportRefusedError(message)
            built = built or isinstance(message, Built)
            tell(message)
    finally:
        transport.close()
    return built
