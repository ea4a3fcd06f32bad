"""Arguments that no command can take are refused once, before any of them is looked at."""

from __future__ import annotations

import errno
import os

import pytest

from fasttree.command import main as command

NO_TEXT = os.fsdecode(b"a\xff")


@pytest.mark.parametrize(
    "arguments",
    [
        ("member", NO_TEXT),
        ("search", NO_TEXT),
        ("downline", NO_TEXT),
        ("upline", "1", "--to", NO_TEXT),
        ("column", "declare", NO_TEXT, "text"),
        ("volume-type", "add", NO_TEXT),
        ("period", "open", NO_TEXT),
        ("held", "drop", NO_TEXT),
        ("log", "adopt", "--reason", NO_TEXT),
        ("switchover", "--to", NO_TEXT),
        ("rejected", "--update-id", NO_TEXT),
        ("summary", "1", "--period", NO_TEXT),
        ("largest", "--by", NO_TEXT),
        ("import", "file.csv", "--check", "--map", f"member_id={NO_TEXT}"),
        ("import", "file.csv", "--check", f"--separator={NO_TEXT}"),
        ("up", "--dir", NO_TEXT),
        (NO_TEXT,),
        (f"--{NO_TEXT}",),
    ],
    ids=" ".join,
)
def test_an_argument_that_is_no_utf_8_is_refused_in_one_line(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "guard_output", lambda: None)
    monkeypatch.setattr(command.cli, "main", lambda **_: pytest.fail("the command was begun"))
    with pytest.raises(SystemExit) as ended:
        command.main(list(arguments))
    assert ended.value.code == 2
    number = next(index for index, argument in enumerate(arguments, 1) if NO_TEXT in argument)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: argument {number} (")
    assert "a\\udcff) is no UTF-8: rename it if it is a file, else write it so" in line


def test_any_script_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(command, "guard_output", lambda: None)
    monkeypatch.setattr(command.cli, "main", lambda args, **_: begun.append(args))
    with pytest.raises(SystemExit) as ended:
        command.main(["member", "Zoë 山 \U0001f600"])
    assert ended.value.code == 0
    assert begun == [["member", "Zoë 山 \U0001f600"]]


def test_a_file_that_may_not_be_looked_at_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", ".fasttree/endpoints.json")

    monkeypatch.setattr(command, "guard_output", lambda: None)
    monkeypatch.setattr(command.cli, "main", main)
    with pytest.raises(SystemExit) as ended:
        command.main(["status"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: .fasttree/endpoints.json: Permission denied\n"
