"""What the log can be set to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, field

from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.shared.config.sections import Problem, Settings

ServerUrl = Annotated[
    str,
    Meta(
        pattern=r"\A(?:(?:postgres(?:ql)?|nats|tls)://[!-~]{0,1980})?\Z",
        description="postgresql://ROLE@HOST/DATABASE or nats://HOST:4222, in printable ASCII without blanks; or empty",
    ),
]


class LogSettings(Settings, frozen=True, kw_only=True):
    """What the log takes of memory and disk, and how much one write of it holds."""

    #: Where the log is kept: "sqlite", in `state_folder`; "postgresql" or "jetstream", in the servers that `log_url`
    #: names.
    log_store: Annotated[
        str, Meta(pattern=r"\A(?:sqlite|postgresql|jetstream)\Z", description="sqlite, postgresql or jetstream")
    ] = "sqlite"
    #: The servers: postgresql://ROLE@HOST,HOST/DATABASE?sslmode=verify-full, as every client of PostgreSQL has it; or
    #: nats://USER@HOST:4222,HOST:4222 (tls:// where they take nothing else). Without a password (`log_password_file`,
    #: `nats_password_file`).
    log_url: ServerUrl = ""
    postgresql: PostgresqlSettings = field(default_factory=PostgresqlSettings)
    jetstream: JetstreamSettings = field(default_factory=JetstreamSettings)
    #: Most updates that one fsync covers.
    group_updates_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 5_000
    #: Page cache of the log, for the index of ids, in mebibytes.
    log_cache_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 128
    #: Most pages of 4 KiB that the log may have; 0: as many as the disk has room for.
    log_pages_max: Annotated[int, Meta(ge=0, le=(1 << 32) - 2)] = 0
    #: Newest records kept in memory, so that fan-out does not read the disk, in mebibytes.
    tail_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 64

    def problems(self) -> Iterator[Problem]:
        """A store that has no place."""
        schemes = {"postgresql": ("postgres://", "postgresql://"), "jetstream": ("nats://", "tls://")}
        wanted = schemes.get(self.log_store)
        if wanted is not None and not self.log_url.startswith(wanted):
            yield Problem("log_url", f'must name the servers ({wanted[-1]}...) where log_store is "{self.log_store}"')
