"""A number that fits nowhere is refused in one line, before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.client import Endpoints
from tests.command.fasttree_command import FastTree

HUGE = "9" * 20


@pytest.mark.parametrize(
    "words",
    [
        ("downline", "7", "--levels", "99999999999"),
        ("summary", "7", "--levels", "4294967296"),
        ("member", "7", "--min-position", HUGE),
        ("held", "--min-position", HUGE),
        ("log", "skip", HUGE, "--reason", "x"),
        ("log", "dump", "--from", HUGE),
        ("held", "drop", HUGE, "--reason", "x"),
        ("import", "members.csv", "--as-of-position", HUGE),
        *(("held", "drop", text, "--reason", "x") for text in ("1_0", "٣", "１", " 1", "1e3", "+1", "1.0")),
        ("largest", "--count", "1_0"),
        ("rules", "set", "--import-removed-percent-max", "1e1"),
        ("rules", "set", "--import-removed-percent-max", "nan"),
        ("up", "--nodes", "٢"),
        ("up", "--vip-threads", "0"),
        ("up", "--vip-threads", "65"),
        ("drill", "--reads", "1_00"),
        ("--timeout", "1_0", "status"),
        ("--timeout", "nan", "status"),
        ("--timeout", "inf", "status"),
        ("--timeout", "1e300", "status"),
    ],
)
async def test_it_is_refused_in_words(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "members.csv").write_text("member_id\n7\n")
    ran = await FastTree(tmp_path, Endpoints(pusher="127.0.0.1:1", vip="127.0.0.1:1"))(*words)
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert ran.err.strip().splitlines()[-1].startswith(("Error: Invalid value", "error: "))
