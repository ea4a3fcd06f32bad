"""`[pusher]`, `log_…`: how the pusher uses a PostgreSQL server."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import OptionalFile, Seconds
from services.shared.config.sections import Settings
from services.shared.postgresql.names import SchemaName

SynchronousCommit = Annotated[
    str,
    Meta(pattern=r"\A(?:on|remote_apply|remote_write|local)\Z", description="on, remote_apply, remote_write or local"),
]


class PostgresqlSettings(Settings, frozen=True, kw_only=True):
    """The server, beside `log_url`."""

    #: Schema that holds the log: one for each cluster.
    log_schema: SchemaName = "fasttree"
    #: File whose first line is the password; empty: PGPASSWORD, PGPASSFILE or a certificate, as for every client of
    #: PostgreSQL. A password in `log_url` is refused: settings are shown and logged.
    log_password_file: OptionalFile = ""
    #: What a commit waits for, as PostgreSQL's setting of that name. With synchronous standbys, "on" is their disks and
    #: "remote_apply" that they show it, too. "local": an acknowledged update can be lost with the server's machine.
    log_synchronous_commit: SynchronousCommit = "on"
    #: How long an attempt to connect may take, in seconds.
    log_connect_timeout_s: Seconds = 3.0
    #: How long one statement may take, in seconds: a commit that standbys do not confirm, for one.
    log_statement_timeout_s: Seconds = 5.0
    #: A transaction in which nothing comes for so long ends, in seconds: a pusher that froze in the middle of a write
    #: holds up the next one for so long.
    log_idle_in_transaction_s: Seconds = 2.0
    #: How long a write waits for a server that is away, or for another one to be promoted, in seconds, before it is
    #: refused: less than a client waits by default (30 s), which is so told why.
    log_patience_s: Seconds = 25.0
