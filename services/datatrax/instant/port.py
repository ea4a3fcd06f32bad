"""Connections of programs: lines in, lines out, each in its order.

What a program may cost is bounded: its lines' length, how many of them wait for their receipts (then nothing more is
read from it), how long it may say nothing, and how many programs there are at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from fasttree.client import UpdateFormatError
from fasttree.v1 import pusher_pb2, types_pb2
from services.datatrax.in_force.gate import FAILED_PRECONDITION
from services.datatrax.instant.lines import answer_of, is_json, refusal, update_of
from services.datatrax.layouts.records import RecordForm
from services.datatrax.sending import Sender
from services.datatrax.settings import InstantSettings
from services.shared.security.own import check_clear

logger = logging.getLogger(__name__)
_Told = asyncio.Future[pusher_pb2.Receipt] | pusher_pb2.Receipt
_Answer = tuple[_Told, bool]


class InstantPort:
    """Listens, once started, until `stop`."""

    def __init__(
        self,
        settings: InstantSettings,
        records: RecordForm | None,
        sender: Sender,
        why_closed: Callable[[], str] = lambda: "",
    ) -> None:
        """`why_closed`: why no update is taken now; empty where they are."""
        self._settings, self._records, self._sender, self._why_closed = settings, records, sender, why_closed
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._readings: set[asyncio.Task[None]] = set()
        #: Where it listens, from `start` on.
        self.port = 0
        self.lines = 0
        self.refused_lines = 0

    @property
    def connected(self) -> int:
        """How many programs are."""
        return len(self._connections)

    async def start(self, host: str) -> int:
        """Listens; returns the port (0 took a free one). Raises OSError, which names the setting."""
        settings = self._settings
        check_clear(host, "programs of this machine reach it on loopback: set datatrax.listen_host")
        try:
            self._server = await asyncio.start_server(
                self._connected, host.strip("[]"), settings.instant_port, limit=settings.instant_line_bytes_max
            )
        except OSError as error:
            raise OSError(f"can't listen on {host}:{settings.instant_port} (datatrax.instant_port): {error}") from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self, grace_s: float) -> None:
        """Takes no more lines, and waits for the receipts of those that came, for so long at most."""
        if self._server is not None:
            self._server.close()
        for reading in self._readings:
            reading.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=grace_s)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._connections) >= self._settings.instant_connections_max:
                said = f"{self._settings.instant_connections_max} programs are connected"
                mend = "try again later, or raise datatrax.instant_connections_max"
                writer.write(answer_of(refusal(f"{said}: {mend}"), as_json=True))
                return
            self._connections.add(task)
            await self._serve(reader, writer)
        except OSError as error:
            logger.info("a program is gone: %s", error)
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers: asyncio.Queue[_Answer | None] = asyncio.Queue(self._settings.instant_waiting_max)
        answering = asyncio.create_task(self._answer(answers, writer))
        reading = asyncio.create_task(self._read(reader, answers))
        self._readings.add(reading)
        await asyncio.wait({reading, answering}, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()  # where nobody is there to be answered
        await asyncio.gather(reading, return_exceptions=True)
        self._readings.discard(reading)
        if not answering.done():
            await answers.put(None)
        await answering

    async def _read(self, reader: asyncio.StreamReader, answers: asyncio.Queue[_Answer | None]) -> None:
        """Until the program has said all, or says what can't be read on."""
        while True:
            try:
                async with asyncio.timeout(self._settings.instant_idle_s):
                    line = await reader.readline()
            except TimeoutError:
                await answers.put((refusal(f"no line for {self._settings.instant_idle_s:g} s: connect anew"), True))
                return
            except ValueError:
                said = f"a line is longer than {self._settings.instant_line_bytes_max:,} bytes"
                await answers.put((refusal(f"{said} (datatrax.instant_line_bytes_max): connect anew"), True))
                return
            if not line:
                return
            self.lines += 1
            as_json = is_json(line) or self._records is None
            if not line.endswith(b"\n"):
                await answers.put((refusal("the last line has no end: it was not taken"), as_json))
                return
            try:
                update = update_of(line, self._records)
            except UpdateFormatError as error:
                self.refused_lines += 1
                await answers.put((refusal(str(error)), as_json))
                continue
            if update is not None:
                await answers.put((await self._taken(update), as_json))

    async def _taken(self, update: types_pb2.Update) -> _Told:
        """What becomes of it."""
        if reason := self._why_closed():
            self.refused_lines += 1
            receipt = refusal(reason, FAILED_PRECONDITION)
            receipt.update_id = update.update_id
            return receipt
        return await self._sender.send(update)

    async def _answer(self, answers: asyncio.Queue[_Answer | None], writer: asyncio.StreamWriter) -> None:
        while (answer := await answers.get()) is not None:
            told, as_json = answer
            receipt = told if isinstance(told, pusher_pb2.Receipt) else await told
            writer.write(answer_of(receipt, as_json))
            if answers.empty():
                await writer.drain()
