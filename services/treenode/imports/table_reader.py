"""Has import files read in processes of their own (`process.py`), one of which waits, loaded, for the next file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable

import msgspec

from services.shared.forms import Form
from services.shared.python_process import python_command
from services.treenode.imports.process import NotRead, Read, ReadMessage, ReadRequest, Ready
from services.treenode.imports.reading import ImportRefusedError, Refusal, TableBrokenError, read_table
from services.treenode.imports.reading.refusal import refuse_file
from services.treenode.tree import ImportTable

#: One line of the process's output.
LINE_BYTES_MAX = 1024**2
#: Signals by which a process ends that meets bytes which a library takes for granted: it would again. Not SIGKILL and
#: SIGBUS: memory was short, and may not be the next time.
_BROKEN_BY_FILE = (signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL)

logger = logging.getLogger(__name__)
_MESSAGE: Form[ReadMessage] = Form(ReadMessage)


class ReadFailedError(Exception):
    """The process died, or could not open the file, for no fault of the file that it could tell."""


class TableReader:
    """The processes that read import files: one file, one process."""

    def __init__(self, spare_after_s: float) -> None:
        """`spare_after_s`: when to start the process for the next file; 0: when the file is there."""
        self._spare_after_s = spare_after_s
        self._spare: _ImportProcess | None = None
        self._taken = asyncio.Event()

    @property
    def has_spare(self) -> bool:
        """A process waits for the next file."""
        return self._spare is not None

    async def run(self) -> None:
        """Keeps a process that waits for the next file, until cancelled."""
        if not self._spare_after_s:
            return
        try:
            while True:
                await asyncio.sleep(self._spare_after_s)
                if self._spare is None:
                    self._spare = await _started()
                self._taken.clear()
                await self._taken.wait()
        finally:
            if self._spare is not None:
                await self._spare.end()

    async def read(self, request: ReadRequest, tell: Callable[[ReadMessage], None]) -> ImportTable:
        """The checked table of an import file. Its reader's memory is given back when this returns.

        Raises:
            ImportRefusedError: The file is bad.
            ReadFailedError: The process died, or could not open it; the text says how.
        """
        process = await self._process()
        try:
            await process.read(request, tell)
            return await asyncio.to_thread(read_table, process.descriptor)
        except TableBrokenError as error:
            raise ReadFailedError(str(error)) from error
        finally:
            await process.end()

    async def _process(self) -> _ImportProcess:
        process, self._spare = self._spare, None
        self._taken.set()
        if process is not None:
            if process.alive:
                return process
            logger.warning("the process that waited for an import file is gone: another one is started")
            await process.end()
        return await _ImportProcess.start()


class _ImportProcess:
    """One process, from its start to its end."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        #: The file that gets the table: memory that has no name, so nothing is left of it, whoever dies.
        self.descriptor = descriptor
        self._process = process

    @classmethod
    async def start(cls) -> _ImportProcess:
        descriptor = os.memfd_create("import")
        # By a thread: the loop's own way forks, which takes the longer the larger this process is.
        starting = asyncio.ensure_future(asyncio.to_thread(_popen, descriptor))
        try:
            return cls(descriptor, await asyncio.shield(starting))
        except asyncio.CancelledError:
            await cls(descriptor, await starting).end()
            raise
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def read(self, request: ReadRequest, tell: Callable[[ReadMessage], None]) -> None:
        """Returns once the table is in the file."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: its exit code tells
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()
        if not await self._listen(tell):
            code = await asyncio.to_thread(self._process.wait)
            if -code in _BROKEN_BY_FILE:
                how = signal.Signals(-code).name
                raise refuse_file(f"reading it ended the process ({how}): its data is damaged, make it anew")
            raise ReadFailedError(f"the process that reads {os.path.basename(request.path)} ended with code {code}")

    async def _listen(self, tell: Callable[[ReadMessage], None]) -> bool:
        """Passes on what the process tells; whether it has read the file. Raises ImportRefusedError."""
        lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), self._process.stdout
        )
        try:
            async for line in lines:
                message = _MESSAGE.of_json(line)
                if isinstance(message, Refusal):
                    raise ImportRefusedError(message)
                if isinstance(message, NotRead):
                    raise ReadFailedError(message.reason)
                if not isinstance(message, Ready):
                    tell(message)
                if isinstance(message, Read):
                    return True
        finally:
            transport.close()
        return False

    async def end(self) -> None:
        """Ends the process, and gives the table's memory back."""
        self._process.kill()
        await asyncio.shield(asyncio.to_thread(self._process.wait))
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        os.close(self.descriptor)


async def _started() -> _ImportProcess | None:
    try:
        return await _ImportProcess.start()
    except OSError as error:
        logger.warning("no process waits for the next import file: %s", error)
        return None


def _popen(descriptor: int) -> subprocess.Popen[bytes]:
    command = python_command("services.treenode.imports.process", str(descriptor))
    return subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(descriptor,))
