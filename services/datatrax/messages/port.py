"""The port of messages: its folder's lock, the file of opt-outs, the runner and the server, begun and ended as one."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import IO

from fasttree.client import Client, Endpoints
from fasttree.v1 import message_pb2, message_pb2_grpc
from services.datatrax.messages.opt_outs import OptOutFile, OptOutsError, read_opt_outs
from services.datatrax.messages.runner import MessageRunner
from services.datatrax.messages.senders.channels import ChannelsError, read_channels
from services.datatrax.messages.service import MessageServicer
from services.datatrax.messages.settings import MessageSettings
from services.shared.config.load import SettingsError
from services.shared.domain.addresses import address_of
from services.shared.domain.sentences import system_words
from services.shared.files.state_folder import lock_folder
from services.shared.serving.background import Background
from services.shared.serving.metrics import Metrics
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings

logger = logging.getLogger(__name__)
_REQUEST_BYTES_MAX = 1 << 20


class MessagePort:
    """Messages of one folder. `start` makes one."""

    def __init__(self, settings: MessageSettings, serving: ServingSettings, host: str, background: Background) -> None:
        """Blocks. Raises SettingsError, StartupError, OSError."""
        try:
            channels = read_channels(Path(settings.message_channels_file))
        except ChannelsError as error:
            raise SettingsError(f"datatrax.message_channels_file: {settings.message_channels_file}: {error}") from None
        self._settings, self._background = settings, background
        self._lock: IO[str] = lock_folder(Path(settings.message_folder).absolute())
        self._client = Client(Endpoints(vip=settings.vip))
        self.runner = MessageRunner(settings, channels, self._client, background)
        self._file: OptOutFile | None = None
        if settings.message_opt_outs_file:
            path = Path(settings.message_opt_outs_file).absolute()
            self._file = OptOutFile(path, settings.message_opt_outs_poll_s, self._take_opt_outs)
        self._server = GrpcServer(
            address_of(host, settings.message_port),
            services=[(message_pb2_grpc.add_MessageServiceServicer_to_server, MessageServicer(self.runner))],
            service_names=[message_pb2.DESCRIPTOR.services_by_name["MessageService"].full_name],
            settings=serving,
            setting="datatrax.message_port",
            message_bytes_max=_REQUEST_BYTES_MAX,
        )

    @classmethod
    async def start(
        cls, settings: MessageSettings, serving: ServingSettings, host: str, background: Background
    ) -> MessagePort:
        """Listens, and goes on with what was not finished. Raises SettingsError, StartupError, OSError."""
        port = cls(settings, serving, host, background)
        try:
            await port._take_file()
            await port._server.start()
            await port.runner.start()
        except BaseException:
            await port.stop(0.0)
            raise
        await port._server.set_active(True)
        if port._file is not None:
            background.start(port._file.watch(), "watches the file of opt-outs")
        names = ", ".join(sorted(port.runner.channels))
        logger.info("messages at %s:%d, channels %s", host, port.port, names)
        return port

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def problem(self) -> str:
        """Why messages don't go as they should; empty: nothing is known."""
        return self.runner.disk.problem or (self._file.problem if self._file is not None else "")

    def show(self, metrics: Metrics) -> None:
        """Adds its figures."""
        runner = self.runner
        metrics.counter("letters", "Letters whose senders took or refused them.", lambda: runner.handed_over)
        metrics.counter(
            "letter_tries_failed", "Tries to hand a letter to its sender that failed.", lambda: runner.failed_tries
        )
        metrics.gauge(
            "letters_under_way", "Letters that are with their senders.", lambda: sum(runner.core.under_way.values())
        )
        metrics.gauge(
            "messages_good",
            "0 while the disk of messages is full, or the opt-outs have a fault.",
            lambda: not self.problem,
        )
        metrics.calls([self._server.calls])
        metrics.connections([self._server.connections])
        metrics.callers([self._server.callers])

    async def stop(self, grace_s: float) -> None:
        """No more calls; what is with its sender is waited for."""
        await self._server.stop(0.0)
        await self.runner.stop(grace_s)
        await self._client.close()
        self._lock.close()

    async def _take_file(self) -> None:
        """Before anything is sent. Raises SettingsError."""
        try:
            if self._file is not None:
                await self._file.take()
            else:
                await self.runner.disk.call(self.runner.journal.set_file, ())
        except (OptOutsError, OSError) as error:
            why = system_words(error) if isinstance(error, OSError) else error
            raise SettingsError(
                f"datatrax.message_opt_outs_file: {self._settings.message_opt_outs_file}: {why}"
            ) from None

    async def _take_opt_outs(self, path: Path) -> None:
        found = await asyncio.to_thread(list, read_opt_outs(path, frozenset(self.runner.channels)))
        await self.runner.disk.call(self.runner.journal.set_file, found)
        await self.runner.opt_outs_changed()
