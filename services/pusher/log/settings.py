"""What the log can be set to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, field

from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.shared.config.sections import Problem, Settings

ServerUrl = Annotated[
    str,
    Meta(
        pattern=r"\A(?:postgres(?:ql)?://[!-~]{0,1980})?\Z",
        description="postgresql://ROLE@HOST/DATABASE, in printable ASCII without blanks; or empty",
    ),
]


class LogSettings(Settings, frozen=True, kw_only=True):
    """What the log takes of memory and disk, and how much one write of it holds."""

    #: Where the log is kept: "sqlite", in `state_folder`; or "postgresql", in the server that `log_url` names.
    log_store: Annotated[str, Meta(pattern=r"\A(?:sqlite|postgresql)\Z", description="sqlite or postgresql")] = "sqlite"
    #: The PostgreSQL server, as every client of it has it: postgresql://ROLE@HOST,HOST/DATABASE?sslmode=verify-full.
    #: Without a password (`log_password_file`).
    log_url: ServerUrl = ""
    postgresql: PostgresqlSettings = field(default_factory=PostgresqlSettings)
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
        if self.log_store == "postgresql" and not self.log_url:
            yield Problem("log_url", 'must name the server where log_store is "postgresql"')
