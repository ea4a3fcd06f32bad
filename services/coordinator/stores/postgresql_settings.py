"""Where the coordinators' record is, and what it is asked with, where it is kept in PostgreSQL."""

from __future__ import annotations

from services.shared.config.bounds import OptionalFile
from services.shared.config.sections import Settings
from services.shared.postgresql.names import PostgresqlUrl, SchemaName

COORDINATORS_SCHEMA = "fasttree_coordinator"


class PostgresqlSettings(Settings, frozen=True, kw_only=True):
    """Of the store `postgresql`."""

    #: Where the server is, as every client of PostgreSQL takes it, such as
    #: `postgresql://fasttree@db1,db2/company?sslmode=verify-full`: name every one that may be the primary; where store
    #: is postgresql.
    postgresql_url: PostgresqlUrl = ""
    #: Schema that holds the table of coordinators, with a row for each cluster.
    postgresql_schema: SchemaName = COORDINATORS_SCHEMA
    #: File whose first line is the password; empty: PGPASSWORD, PGPASSFILE or a certificate, as for every client of
    #: PostgreSQL. A password in `postgresql_url` is refused: settings are shown and logged.
    postgresql_password_file: OptionalFile = ""
