"""`fasttree log schema`: what a database's administrator runs for a log in PostgreSQL."""

from __future__ import annotations

import click

from fasttree.command.output import print_json
from fasttree.command.session import CommandError, Session, json_option
from services.pusher.log.postgresql.settings import SCHEMA_PATTERN
from services.pusher.log.postgresql.tables import schema_sql


@click.command("schema")
@click.option("--cluster", required=True, help="The cluster's name (cluster.name): the log is that one's.")
@click.option("--schema", default="fasttree", show_default=True, help="As pusher.log_schema.")
@click.option("--role", default="", help="The pusher's role, which gets what it needs and no more.")
@json_option
def schema_command(session: Session, cluster: str, schema: str, role: str) -> None:
    """Prints the SQL that makes a log's tables in PostgreSQL, where the pusher itself may make none.

    Once, as a role that may: fasttree log schema --cluster dot-live --role fasttree | psql company
    """
    for name, value in (("--schema", schema), ("--role", role)):
        if value and not SCHEMA_PATTERN.fullmatch(value):
            raise CommandError(f"{name} must be 1 to 63 of a-z 0-9 _, not {value[:100]!r}")
    if not 1 <= len(cluster) <= 64 or not cluster.isascii() or not cluster.isprintable() or " " in cluster:
        raise CommandError("--cluster must be 1 to 64 printable ASCII characters without blanks")
    sql = schema_sql(schema, cluster, role)
    if session.json:
        print_json({"sql": sql})
    else:
        click.echo(sql, nl=False)
