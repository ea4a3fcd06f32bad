"""A service as a process: its command line, its folder, and its life from start to end.

The command line is `python -m services.NAME --config FILE --set section.field=value`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

import click
import uvloop

from services.shared.config.load import SettingsError, load_settings, parse_overrides, unknown_variables
from services.shared.config.sections import ClusterSettings
from services.shared.domain.sentences import plain, system_words
from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.own import begin_sealing, follow_keys
from services.shared.files.sealed.settings import SealingSettings
from services.shared.log_lines import configure_logging
from services.shared.security.audit.log import end_audit
from services.shared.security.own import begin, follow
from services.shared.security.settings import TlsError, TlsSettings
from services.shared.security.tokens.settings import TokenSettings
from services.shared.serving.background import Background
from services.shared.telemetry.own import begin as begin_telemetry
from services.shared.telemetry.own import end as end_telemetry
from services.shared.telemetry.settings import TelemetryError, TelemetrySettings

logger = logging.getLogger(__name__)


class StartupError(Exception):
    """Why the service can't start, or can't go on: one line that names the mend.

    Args:
        exit_code: Of the process.
    """

    def __init__(self, reason: str, exit_code: int = 1) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class Service(Protocol):
    """What has been started, and runs until it is stopped."""

    @property
    def background(self) -> Background:
        """Tells when it must not go on."""

    async def stop(self) -> None:
        """Drains, then ends. Called once, whether it was asked to end or failed."""


def run(start: Callable[[], Awaitable[Service]], *, fault_exit_code: int = 1) -> None:
    """Runs a service on uvloop until SIGTERM or SIGINT, or until it must not go on.

    Args:
        start: Returns once it serves.
        fault_exit_code: Of a process that ended by a fault of its own.

    Raises:
        StartupError: It could not go on.
    """

    async def life() -> None:
        asked, starting = asyncio.Event(), True

        def ask() -> None:
            asked.set()
            if starting:
                # Threads may be compiling for minutes yet. Nothing was promised to anybody; every service bears a kill.
                logger.info("ends before it has started")
                logging.shutdown()
                os._exit(0)

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ask)
        # Whoever started the process may have blocked it until now (deploy/k8s/image/fasttree-service).
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        following = [asyncio.create_task(follow()), asyncio.create_task(follow_keys())]
        service = await start()
        starting = False
        background = service.background
        ends = [asyncio.create_task(event.wait()) for event in (asked, background.failed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        logger.info("ends")
        await service.stop()
        for each in following:
            each.cancel()
        if background.error is not None:
            raise StartupError(background.reason, fault_exit_code) from background.error

    uvloop.run(life())


def service_command(
    name: str,
    start: Callable[[Path | None, dict[str, str]], None],
    short: Mapping[str, str] | None = None,
    *,
    keeps_members: bool = False,
) -> click.Command:
    """The click command of a service.

    Args:
        name: The service's name.
        start: Gets the settings file and the overrides; runs until the service ends. A SettingsError, StartupError or
            OSError of it is told in one line, with exit code 1.
        short: Fields of the service's section that have an option of their own, with its help.
        keeps_members: In files of its state, which are sealed where `[sealing]` says so.
    """

    @click.command(name=name)
    @click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
    @click.option(
        "--set", "assignments", multiple=True, metavar="SECTION.FIELD=VALUE", help="One setting; may be repeated."
    )
    @click.option("--log-level", default="INFO", show_default=True, envvar="FASTTREE_LOG_LEVEL")
    @click.option("--log-format", default="text", show_default=True, envvar="FASTTREE_LOG_FORMAT", help="text or json.")
    def command(
        config: Path | None, assignments: tuple[str, ...], log_level: str, log_format: str, **fields: str | None
    ) -> None:
        configure_logging(name, log_level, log_format)
        # Members, orders, the whole company: for the service's own user alone, whatever folder it is told to use.
        os.umask(0o077)
        for line in unknown_variables(os.environ):
            logger.warning("%s", line)
        try:
            given = {f"{name}.{field}": value for field, value in fields.items() if value is not None}
            overrides = given | parse_overrides(assignments)
            tokens = load_settings(TokenSettings, "tokens", config, overrides)
            begin(load_settings(TlsSettings, "tls", config, overrides), tokens)
            if keeps_members:
                begin_sealing(load_settings(SealingSettings, "sealing", config, overrides))
            if (telemetry := load_settings(TelemetrySettings, "telemetry", config, overrides)).on:
                cluster = load_settings(ClusterSettings, "cluster", config, overrides)
                begin_telemetry(telemetry, name, cluster.name)
            start(config, overrides)
        except (SettingsError, StartupError, TlsError, SealKeyError, TelemetryError, OSError) as error:
            click.echo(f"error: {name}: {plain(system_words(error))}", err=True)
            sys.exit(error.exit_code if isinstance(error, StartupError) else 1)
        finally:
            end_audit()
            end_telemetry()

    for field, text in (short or {}).items():
        command.params.append(click.Option([f"--{field}"], metavar="TEXT", help=f"{text} ({name}.{field})"))
    return command


def settle_memory() -> None:
    """To be called once a service is warm: what is there now stays, and garbage is looked for seldom, among what came
    since. Nothing here makes circles to speak of, and a search through everything would stop the service meanwhile.
    """
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    gc.enable()
