"""`fasttree audit`: records as people and programs see them, and the first line that is not as it was written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.shared.security.audit.files import OPERATIONS, file_of
from services.shared.security.audit.log import AuditLog
from services.shared.security.audit.records import Kind
from services.shared.security.audit.settings import AuditSettings
from tests.command.fasttree_command import FastTree

PAUSE = "/fasttree.v1.CoordinatorService/Pause"
WHO = "spiffe://dot-test/operator/anna"
DEADLINE_S = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = AuditLog(AuditSettings(), tmp_path / "coordinator/audit", "coordinator", lambda: 1e9)
    told = {"principal": WHO, "peer": "ipv4:10.0.0.1:5", "call": "c1"}
    log.write(log.entry(Kind.BEGUN, PAUSE, **told))
    log.write(log.entry(Kind.ENDED, PAUSE, status="OK", details={"epoch": 7}, **told)).result(DEADLINE_S)
    log.refused(log.entry(Kind.REFUSED, PAUSE, peer="ipv4:10.0.0.2:5", status="PERMISSION_DENIED", authorized=False))
    log.close()
    return tmp_path


async def test_records_are_shown_and_chosen(fasttree: FastTree, folder: Path) -> None:
    ran = await fasttree("audit", "show", "--dir", str(folder))
    lines = ran.out.splitlines()
    assert len(lines) == 3 + 4  # each chain has said that it begins
    assert f"2001-09-09T01:46:40.000000Z  coordinator  ended  {WHO} from ipv4:10.0.0.1:5  Pause  OK  epoch=7" in lines
    for chosen, count in (
        (("--who", "anna"), 2),
        (("--who", "10.0.0.2"), 1),
        (("--rpc", "Pause"), 3),
        (("--rpc", "Resume"), 0),
        (("--since", "2001-09-09T00:00Z"), 7),
        (("--since", "2d"), 0),
    ):
        ran = await fasttree("audit", "show", "--dir", str(folder), "--json", *chosen)
        assert len(ran.json_lines) == count, chosen
    ran = await fasttree("audit", "show", "--dir", str(folder), "--json", "--who", "anna")
    as_written = file_of(folder / "coordinator/audit", OPERATIONS, 1).read_text().splitlines()
    assert ran.json_lines == [json.loads(line) for line in as_written[-2:]]


async def test_a_log_is_verified_and_damage_named(fasttree: FastTree, folder: Path) -> None:
    at = ("--dir", str(folder))
    ran = await fasttree("audit", "verify", *at, "--json")
    assert ran.code == 0, ran.err
    newest = ran.json[0]["newest_hash"]
    assert [(each["records"], each["problem"]) for each in ran.json] == [(4, ""), (3, "")]
    assert (await fasttree("audit", "verify", *at, "--newest", newest)).code == 0
    ran = await fasttree("audit", "verify", *at, "--newest", "0" * 64)
    assert ran.code == 1
    assert "no line has the hash" in ran.err
    # The endpoints file that is named says which cluster's folder is meant.
    of_cluster = ("--endpoints", str(folder / "endpoints.json"))
    assert (await fasttree("audit", "verify", *of_cluster, "--newest", newest)).code == 0
    assert len((await fasttree("audit", "show", *of_cluster)).out.splitlines()) == 7
    path = file_of(folder / "coordinator/audit", OPERATIONS, 1)
    path.write_bytes(path.read_bytes().replace(b"anna", b"bert", 1))
    ran = await fasttree("audit", "verify", *at)
    assert ran.code == 1
    assert "broken" in ran.out
    assert f"{path}:4: it does not hold on to the line before" in ran.err
    assert ran.err.count("\n") == 1


async def test_a_pipe_in_a_file_s_place_is_named_and_not_waited_for(fasttree: FastTree, folder: Path) -> None:
    path = file_of(folder / "coordinator/audit", OPERATIONS, 1)
    path.unlink()
    os.mkfifo(path)
    for words in (("verify",), ("show",)):
        ran = await fasttree("audit", *words, "--dir", str(folder))
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert f"{path}" in ran.err
        assert "it is no regular file: take it away" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "--since", "soon"), "write an age, as 90m or 2d"),
        (("verify", "--newest", "xyz"), "a hash has 64 digits"),
        (("show", "--dir", "EMPTY"), "no audit log in"),
        (("show", "--dir", "EMPTY"), "for another one, run this there, or look at /audit of the part's HTTP port"),
    ],
)
async def test_what_is_wrong_is_told_in_one_line(
    fasttree: FastTree, folder: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    given = [str(empty) if each == "EMPTY" else each for each in arguments]
    ran = await fasttree("audit", *given, *(() if "--dir" in given else ("--dir", str(folder))))
    assert ran.code != 0
    assert said in ran.err
    assert ran.err.count("\n") == 1
