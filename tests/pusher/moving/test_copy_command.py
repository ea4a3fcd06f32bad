"""What `fasttree log copy` says names its own options, where a pusher would name its settings."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.rivals.postgres_replicas import ReplicatedPostgres
from fasttree.command.main import cli
from fasttree.command.session import CommandError
from services.pusher.log.settings import LogSettings
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStoreError
from services.pusher.moving.postgresql_target import PostgresqlTarget
from tests.postgresql_server import schema_settings


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "postgresql://u:sesame@db1/company"], "--to holds a password: name a file of it in --password-file"),
        (["--to", "nats://u:sesame@nats1"], "--to holds a password: name a file of it in --password-file"),
        (["--to", "postgresql://u@db1/company?sslmod=x"], "--to must name a server, such as"),
        (["--to", "postgresql://u@db1"], "--to names no database: write postgresql://ROLE@HOST/DATABASE"),
        (["--to", "nats://nats1", "--certificate-file", "/none"], "a file for the connection to NATS can't be used"),
        (["--to", "nats://nats1", "--stream", "a b"], "--stream must be"),
    ],
)
def test_a_mistake_is_told_by_the_option(options: list[str], words: str, tmp_path: Path) -> None:
    SqliteLog(tmp_path, cluster="dot-test").claim_alone().close()
    done = CliRunner().invoke(cli, ["log", "copy", "--from", str(tmp_path), "--cluster", "dot-test", *options])
    assert isinstance(done.exception, CommandError)
    assert words in str(done.exception)
    assert "sesame" not in done.output + str(done.exception)


def copy(folder: Path, settings: LogSettings, *options: str) -> Result:
    arguments = ["log", "copy", "--from", str(folder), "--cluster", "dot-test", "--to", settings.log_url]
    return CliRunner().invoke(cli, [*arguments, "--schema", settings.postgresql.log_schema, *options])


def test_a_schema_of_something_else_is_told_by_the_option(postgresql: ReplicatedPostgres, tmp_path: Path) -> None:
    SqliteLog(tmp_path, cluster="dot-test").claim_alone().close()
    with schema_settings(postgresql) as settings:
        schema = settings.postgresql.log_schema
        postgresql.psql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.records (x int)")
        done = copy(tmp_path, settings)
        words = f"schema {schema} has tables that are no log of FastTree: set another --schema"
        assert str(done.exception) == words
        assert postgresql.psql(f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'") == "1"


def test_what_was_moved_half_is_not_said_to_go_on(
    postgresql: ReplicatedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteLog(tmp_path, cluster="dot-test").claim_alone().close()

    def dies(target: object, *values: object) -> None:
        raise LogStoreError("it died")

    with schema_settings(postgresql) as settings:
        assert "the pusher goes on with its own" in copy(tmp_path, settings).output
        with monkeypatch.context() as patched:
            patched.setattr(PostgresqlTarget, "finish", dies)
            assert str(copy(tmp_path, settings, "--finish").exception) == "it died"
        done = copy(tmp_path, settings)
        assert done.exit_code == 0
        assert "the old log takes nothing more: run this again with --finish" in done.output
        assert "moved; start the pusher" in copy(tmp_path, settings, "--finish").output
        assert "moved; start the pusher" in copy(tmp_path, settings).output


def test_the_log_of_another_cluster_is_copied_nowhere(postgresql: ReplicatedPostgres, tmp_path: Path) -> None:
    SqliteLog(tmp_path, cluster="dot-live").claim_alone().close()
    with schema_settings(postgresql) as settings:
        for options in ([], ["--finish"]):
            words = f"{tmp_path}/log.db is the log of cluster dot-live, not of dot-test: set --cluster dot-live"
            assert str(copy(tmp_path, settings, *options).exception) == words
        schema = settings.postgresql.log_schema
        assert postgresql.psql(f"SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'") == "0"
        with contextlib.closing(SqliteLog(tmp_path)) as log:
            assert log.fence().elsewhere == ""


def test_a_log_of_which_nobody_knows_whose_it_is_has_to_be_opened_first(tmp_path: Path) -> None:
    """By its pusher, which notes the cluster; one of the time before that did not."""
    SqliteLog(tmp_path).claim_alone().close()
    for cluster, words in (
        ("", "of an earlier version: start its pusher once"),
        ("dot-test", "--to names no database"),
    ):
        if cluster:
            SqliteLog(tmp_path, cluster=cluster).claim_alone().close()
        copied = ["log", "copy", "--from", str(tmp_path), "--cluster", "dot-test", "--to", "postgresql://u@db1"]
        assert words in str(CliRunner().invoke(cli, copied).exception)
