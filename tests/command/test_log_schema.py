"""`fasttree log schema` prints what makes a log; that a server takes it is in tests/pusher/log/postgresql."""

from __future__ import annotations

import json

from click.testing import CliRunner

from fasttree.command.main import cli
from fasttree.command.session import CommandError
from services.coordinator.stores.postgresql_table import coordinators_sql
from services.pusher.log.postgresql.tables import VERSION, upgrade_sql


def test_it_prints_the_tables_and_the_grants() -> None:
    arguments = ["log", "schema", "--cluster", "o'hara", "--schema", "company", "--role", "fasttree", "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    sql = json.loads(done.output)["sql"]
    assert 'CREATE TABLE "company".fence' in sql
    assert f"('version', '{VERSION}'), ('cluster', 'o''hara')" in sql
    assert 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "company" TO "fasttree";' in sql
    assert sql.startswith("BEGIN;\n")
    assert sql.endswith("COMMIT;\n")


def test_it_prints_the_table_of_the_coordinators() -> None:
    done = CliRunner().invoke(cli, ["log", "schema", "--coordinator", "--role", "fasttree"])
    assert done.exit_code == 0, done.output
    assert done.output == coordinators_sql("fasttree_coordinator", "fasttree")
    assert "GRANT SELECT, INSERT, UPDATE ON" in done.output


def test_it_prints_the_step_from_an_earlier_version() -> None:
    done = CliRunner().invoke(cli, ["log", "schema", "--from", "1", "--role", "fasttree"])
    assert done.exit_code == 0, done.output
    assert done.output == upgrade_sql("fasttree", 1, "fasttree")
    assert f"SET value = '{VERSION}' WHERE name = 'version'" in done.output
    assert "CREATE SCHEMA" not in done.output


def test_a_name_that_is_none_is_told() -> None:
    for arguments, words in (
        (["--cluster", "a", "--schema", 'x"; DROP'], "--schema must be"),
        (["--cluster", "a", "--role", "Role"], "--role must be"),
        (["--cluster", "two words"], "--cluster must be"),
        ([], "--cluster must be"),
        (["--coordinator", "--cluster", "a"], "--cluster means nothing with --coordinator"),
        (["--coordinator", "--schema", "a b"], "--schema must be"),
        (["--coordinator", "--from", "1"], "--from means nothing with --coordinator"),
        (["--from", "0"], f"1 to {VERSION - 1}, not 0"),
        (["--from", str(VERSION)], f"1 to {VERSION - 1}, not {VERSION}"),
    ):
        done = CliRunner().invoke(cli, ["log", "schema", *arguments])
        assert isinstance(done.exception, CommandError)
        assert words in str(done.exception)
