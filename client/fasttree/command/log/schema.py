"""`fasttree log schema`: what a database's administrator runs for what is kept in PostgreSQL."""

from __future__ import annotations

from typing import TypedDict

import click

from fasttree.command.output import print_json
from fasttree.command.session import CommandError, Session, json_option
from fasttree.command.shapes import prints
from services.coordinator.stores.postgresql_settings import COORDINATORS_SCHEMA
from services.coordinator.stores.postgresql_table import coordinators_sql
from services.pusher.log.postgresql.tables import VERSION, schema_sql, upgrade_sql
from services.shared.postgresql.names import SCHEMA_PATTERN


class SchemaJson(TypedDict):
    """Statements for a database's administrator."""

    sql: str


@click.command("schema")
@prints(SchemaJson)
@click.option("--cluster", default="", help="The cluster's name (cluster.name): the log is that one's.")
@click.option("--coordinator", "is_coordinator", is_flag=True, help="The table of the coordinators' record instead.")
@click.option("--schema", default="", help="As pusher.log_schema, or coordinator.postgresql_schema.")
@click.option("--role", default="", help="The services' role, which gets what it needs and no more.")
@click.option("--from", "version", type=int, help="The tables are there, of that version: the step to this program's.")
@json_option
def schema_command(
    session: Session, cluster: str, is_coordinator: bool, schema: str, role: str, version: int | None
) -> None:
    """Prints the SQL that makes a log's tables in PostgreSQL, where the pusher itself may make none.

    Once, as a role that may: fasttree log schema --cluster dot-live --role fasttree | psql company

    For tables of an earlier version, as the pusher says it: fasttree log schema --from 1 --role fasttree | psql company
    """
    schema = schema or (COORDINATORS_SCHEMA if is_coordinator else "fasttree")
    for name, value in (("--schema", schema), ("--role", role)):
        if value and not SCHEMA_PATTERN.fullmatch(value):
            raise CommandError(f"{name} must be 1 to 63 of a-z 0-9 _, not {value[:100]!r}")
    if is_coordinator:
        if version is not None:
            raise CommandError("--from means nothing with --coordinator: that table has had one version")
        if cluster:
            raise CommandError("--cluster means nothing with --coordinator: that table has a row for each cluster")
        _show(session, coordinators_sql(schema, role))
        return
    if version is not None:
        if not 1 <= version < VERSION:
            raise CommandError(f"--from must be a version before this program's, 1 to {VERSION - 1}, not {version}")
        _show(session, upgrade_sql(schema, version, role))
        return
    if not 1 <= len(cluster) <= 64 or not cluster.isascii() or not cluster.isprintable() or " " in cluster:
        raise CommandError("--cluster must be 1 to 64 printable ASCII characters without blanks")
    _show(session, schema_sql(schema, cluster, role))


def _show(session: Session, sql: str) -> None:
    if session.json:
        print_json(SchemaJson(sql=sql))
    else:
        click.echo(sql, nl=False)
