"""`fasttree log copy`: a log moved from SQLite to PostgreSQL or NATS JetStream."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import click

from fasttree.command.log.sealed import key_file_option, use_keys
from fasttree.command.output import Progress, print_json
from fasttree.command.session import CommandError, Session, json_option
from fasttree.command.shapes import prints
from services.pusher.log.fencing.fence import settings_of
from services.pusher.log.jetstream.settings import STREAM_PATTERN, JetstreamSettings
from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogStoreError
from services.shared.postgresql.names import SCHEMA_PATTERN

#: What stands in a pusher's settings is an option here.
_OPTIONS = {
    "log_url": "--to",
    "log_schema": "--schema",
    "log_password_file": "--password-file",
    "nats_stream": "--stream",
    "nats_replicas": "--replicas",
    "nats_password_file": "--password-file",
    "nats_credentials_file": "--credentials-file",
    "nats_ca_file": "--ca-file",
    "nats_certificate_file": "--certificate-file",
}
_SETTINGS = re.compile(rf"(?<![\w.])(?:{'|'.join(_OPTIONS)})\b")


class LogCopiedJson(TypedDict):
    """What is in the copy; `moved`: it is the log from now on."""

    log_id: str
    first_position: int
    last_position: int
    trimmed_ids: int
    moved: bool


@click.command("copy")
@prints(LogCopiedJson)
@click.option(
    "--from",
    "folder",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The pusher's state folder, with its log in SQLite.",
)
@click.option("--to", "url", required=True, help="The servers, as pusher.log_url: postgresql://... or nats://...")
@click.option("--cluster", required=True, help="The cluster's name (cluster.name).")
@click.option("--schema", default="fasttree", show_default=True, help="As pusher.log_schema; empty, or a copy's.")
@click.option("--stream", default="fasttree", show_default=True, help="As pusher.nats_stream; not there, or a copy's.")
@click.option("--replicas", type=click.IntRange(1, 5), default=3, show_default=True, help="As pusher.nats_replicas.")
@click.option("--password-file", default="", help="As pusher.log_password_file, or pusher.nats_password_file.")
@click.option("--credentials-file", default="", help="As pusher.nats_credentials_file.")
@click.option("--ca-file", default="", help="As pusher.nats_ca_file.")
@click.option("--certificate-file", default="", help="As pusher.nats_certificate_file.")
@click.option("--certificate-key-file", default="", help="As pusher.nats_key_file.")
@key_file_option
@click.option("--finish", is_flag=True, help="The last step: the old log takes nothing more, the copy is the log.")
@click.option(
    "--instead-of",
    metavar="COPY",
    default="",
    help="A copy that --finish had begun to move the log to, and that was lost before it said `moved`.",
)
@json_option
def copy_command(
    session: Session,
    folder: Path,
    url: str,
    cluster: str,
    schema: str,
    stream: str,
    finish: bool,
    instead_of: str,
    key_file: str,
    **options: Any,
) -> None:
    """Copies a log to PostgreSQL or NATS JetStream while its pusher goes on: positions, ids, rules, imports.

    Each record is read back and compared. Run it as often as you like: it goes on where it was. With --finish it then
    moves the log: the pusher's pushes are refused from there on, until it is started with pusher.log_store =
    "postgresql" (or "jetstream"). See docs/operations.md, `From SQLite to PostgreSQL or JetStream`.
    """
    if not SCHEMA_PATTERN.fullmatch(schema):
        raise CommandError(f"--schema must be 1 to 63 of a-z 0-9 _, not {schema[:100]!r}")
    if not STREAM_PATTERN.fullmatch(stream):
        raise CommandError(f"--stream must be 1 to 64 of A-Z a-z 0-9 _ -, not {stream[:100]!r}")
    settings = _settings(url, schema, stream, options)
    try:
        from services.pusher.moving.moving import copy_log
    except ImportError as error:
        raise CommandError(f"this needs {error.name}: {_install(settings)}") from None
    use_keys(key_file)
    progress = Progress(quiet=session.json)
    try:
        copied = copy_log(
            folder,
            settings,
            cluster,
            finish=finish,
            progress=partial(progress.percent, unit="records"),
            instead_of=instead_of,
        )
    except ImportError as error:
        raise CommandError(f"this needs {error.name}: {_install(settings)}") from None
    except (LogStoreError, OSError) as error:
        raise CommandError(_SETTINGS.sub(lambda found: _OPTIONS[found[0]], str(error))) from None
    finally:
        progress.clear()
    if session.json:
        print_json(
            LogCopiedJson(
                log_id=copied.log_id,
                first_position=copied.ends.first,
                last_position=copied.ends.last,
                trimmed_ids=copied.old_ids,
                moved=copied.moved,
            )
        )
        return
    what = f"log {copied.log_id}, positions {copied.ends.first} to {copied.ends.last}"
    if copied.moved:
        place = f"stream {stream}" if settings.log_store == "jetstream" else f"schema {schema}"
        click.echo(f"{what}: moved; start the pusher with {settings_of(place)}")
    elif copied.begun:
        click.echo(f"{what}: copied, and not moved yet; the old log takes nothing more: run this again with --finish")
    else:
        click.echo(f"{what}: copied; the pusher goes on with its own until you run this again with --finish")


def _settings(url: str, schema: str, stream: str, options: dict[str, Any]) -> LogSettings:
    """As the pusher will have them."""
    if url.startswith(("nats://", "tls://")):
        jetstream = JetstreamSettings(
            nats_stream=stream,
            nats_replicas=options["replicas"],
            nats_password_file=options["password_file"],
            nats_credentials_file=options["credentials_file"],
            nats_ca_file=options["ca_file"],
            nats_certificate_file=options["certificate_file"],
            nats_key_file=options["certificate_key_file"],
        )
        return LogSettings(log_store="jetstream", log_url=url, jetstream=jetstream)
    postgresql = PostgresqlSettings(log_schema=schema, log_password_file=options["password_file"])
    return LogSettings(log_store="postgresql", log_url=url, postgresql=postgresql)


def _install(settings: LogSettings) -> str:
    return f"pip install ha-fasttree[{'jetstream' if settings.log_store == 'jetstream' else 'postgres'}]"
