"""What `fasttree log copy` says names its own options, where a pusher would name its settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fasttree.command.main import cli
from fasttree.command.session import CommandError
from services.pusher.log.sqlite import SqliteLog


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "postgresql://u:sesame@db1/company"], "--to holds a password: name a file of it in --password-file"),
        (["--to", "nats://u:sesame@nats1"], "--to holds a password: name a file of it in --password-file"),
        (["--to", "postgresql://u@db1/company?sslmod=x"], "--to must name a server, such as"),
        (["--to", "nats://nats1", "--certificate-file", "/none"], "a file for the connection to NATS can't be used"),
        (["--to", "nats://nats1", "--stream", "a b"], "--stream must be"),
    ],
)
def test_a_mistake_is_told_by_the_option(options: list[str], words: str, tmp_path: Path) -> None:
    SqliteLog(tmp_path).close()
    done = CliRunner().invoke(cli, ["log", "copy", "--from", str(tmp_path), "--cluster", "dot-test", *options])
    assert isinstance(done.exception, CommandError)
    assert words in str(done.exception)
    assert "sesame" not in done.output + str(done.exception)
