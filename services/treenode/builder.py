"""Runs `import_process` and takes the tree that it builds."""

from __future__ import annotations

import asyncio
import contextlib
import os
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
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.treenode.import_process",
        str(descriptor),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(descriptor,),
        limit=LINE_BYTES_MAX,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    decoder = msgspec.json.Decoder(BuildMessage)
    built = False
    try:
        process.stdin.write(msgspec.json.encode(request))
        process.stdin.close()
        async for line in process.stdout:
            message = decoder.decode(line)
            if isinstance(message, Refused):
                raise ImportRefusedError(message)
            built = built or isinstance(message, Built)
            tell(message)
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if code != 0 or not built:
        raise BuildFailedError(f"the process that reads import {request.import_id} ended with code {code}")
