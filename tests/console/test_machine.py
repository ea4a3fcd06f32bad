"""What lies on the console's machine: audit logs and logs, bounded, in order, and with nothing in them that acts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from services.console.machine.logs import files_of, tail_of
from services.shared.security.audit.files import OPERATIONS, file_of
from services.shared.security.audit.log import AuditLog
from services.shared.security.audit.records import Kind
from services.shared.security.audit.settings import AuditSettings
from tests.console.conftest import Asking, running_console
from tests.fakes.cluster import FakeCluster

PATH = "/fasttree.v1.CoordinatorService/Switchover"


def write_audit(folder: Path, count: int = 3) -> None:
    """Operations of an operator, the last of which has no end, and a refusal."""
    log = AuditLog(AuditSettings.of(), folder, "coordinator")
    for number in range(count):
        told: dict[str, Any] = {"principal": "spiffe://dot/operator/ann", "call": f"{number}", "peer": "ipv4:1.2.3.4:5"}
        written = [log.write(log.entry(Kind.BEGUN, PATH, **told))]
        if number < count - 1:
            status = "OK" if number else "UNAVAILABLE"
            written.append(log.write(log.entry(Kind.ENDED, PATH, status=status, details={"to_node": "n2"}, **told)))
        for each in written:
            each.result(30)
    log.refused(log.entry(Kind.REFUSED, PATH, principal="spiffe://dot/leader/17", authorized=False))
    log.close()


async def test_a_console_that_is_told_of_no_folder_says_so(console: Asking) -> None:
    assert await console.get("/api/audit") == (200, {"folders": None, "parts": []})
    assert await console.get("/api/logs") == (200, {"files": None, "parts": []})
    for path in ("/api/audit/verify", "/api/logs/tail?name=n1"):
        status, answer = await console.get(path)
        assert (status, "names no folder of this machine" in answer["error"]["message"]) == (409, True)


async def test_records_come_newest_first_and_as_they_are_asked_for(cluster: FakeCluster, tmp_path: Path) -> None:
    write_audit(tmp_path / "coordinator" / "audit")
    async with running_console(cluster, audit_folder=str(tmp_path)) as console:
        _, told = await console.get("/api/audit")
        assert (told["folders"], told["older"]) == (["coordinator/audit"], None)
        times = [one["time"] for one in told["records"]]
        assert times == sorted(times, reverse=True)
        # Of an operation that is over, its end says all.
        kinds = [(one["kind"], one["status"]) for one in told["records"] if one["service"] and one["method"]]
        ends = [("ended", "OK"), ("ended", "UNAVAILABLE")]
        assert sorted(kinds) == sorted([("refused", ""), ("begun", ""), *ends])
        for asked, kinds in (
            ("outcome=failed", [("ended", "UNAVAILABLE")]),
            ("outcome=refused", [("refused", "")]),
            ("who=LEADER/17", [("refused", "")]),
            ("who=ann&method=switch&outcome=operations", [("begun", ""), *ends]),
            ("method=Pause", []),
        ):
            _, told = await console.get(f"/api/audit?{asked}")
            assert [(one["kind"], one["status"]) for one in told["records"]] == kinds, asked
        assert (await console.get("/api/audit?outcome=odd"))[0] == 400
        assert (await console.get("/api/audit?older=yesterday"))[0] == 400


async def test_pages_go_on_where_the_one_before_ended(cluster: FakeCluster, tmp_path: Path) -> None:
    write_audit(tmp_path / "audit", count=151)
    async with running_console(cluster, audit_folder=str(tmp_path)) as console:
        numbers: list[int] = []
        older = ""
        while True:
            async with console.session.get("/api/audit", params={"outcome": "operations", "older": older}) as answer:
                told = await answer.json()
            numbers += [one["record"] for one in told["records"]]
            assert len(told["records"]) <= 100
            if told["older"] is None:
                break
            older = "\n".join(map(str, told["older"]))
    # One record a call, but where a page has the end and the next one the beginning.
    assert len(numbers) == len(set(numbers))
    assert len(numbers) in (151, 152)


async def test_a_chain_that_was_changed_is_found(cluster: FakeCluster, tmp_path: Path) -> None:
    write_audit(tmp_path / "audit")
    async with running_console(cluster, audit_folder=str(tmp_path)) as console:
        _, told = await console.get("/api/audit/verify")
        assert [(one["chain"], one["problem"]) for one in told["chains"]] == [("operations", ""), ("refusals", "")]
        file = file_of(tmp_path / "audit", OPERATIONS, 1)
        file.write_bytes(file.read_bytes().replace(b"UNAVAILABLE", b"OK"))
        _, told = await console.get("/api/audit/verify")
        assert "does not hold on to the line before" in told["chains"][0]["problem"]


async def test_a_tail_is_bounded_and_acts_on_no_terminal_or_page(cluster: FakeCluster, tmp_path: Path) -> None:
    file = tmp_path / "n1.log"
    file.write_bytes(b"".join(b"line %d\n" % number for number in range(50_000)) + b"\x1b[31mred\x07\xff\r\ttab\n")
    file.open("a").write("x" * 5_000 + "\n")
    async with running_console(cluster, logs_folder=str(tmp_path)) as console:
        assert [one["name"] for one in (await console.get("/api/logs"))[1]["files"]] == ["n1"]
        _, told = await console.get("/api/logs/tail?name=n1&lines=4")
        assert told["is_whole"] is False
        assert told["lines"][0] == "line 49999"
        assert [line for line in told["lines"] if not line.isprintable()] == []
        assert told["lines"][-1] == "x" * 2_000 + "…"
        assert len((await console.get("/api/logs/tail?name=n1&lines=999999"))[1]["lines"]) == 1_000
        assert (await console.get("/api/logs/tail?name=n1&lines=-1"))[0] == 400


@pytest.mark.parametrize("name", ["../outside", "link", "nothing", "pipe", "folder", "/etc/hostname", "n1.log", ""])
async def test_no_name_leads_out_of_the_folder(cluster: FakeCluster, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (tmp_path / "outside.log").write_text("secret\n")
    (folder / "n1.log").write_text("line\n")
    (folder / "link.log").symlink_to(tmp_path / "outside.log")
    (folder / "folder.log").mkdir()
    os.mkfifo(folder / "pipe.log")
    asking = running_console(cluster, logs_folder=str(folder))
    async with asking as console, console.session.get("/api/logs/tail", params={"name": name}) as answer:
        assert answer.status == 404
    assert [one["name"] for one in files_of(folder)] == ["n1"]


@pytest.mark.parametrize(
    "line",
    [
        "a call came with Bearer SECRET of 8 s",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJTRUNSRVQifQ.SECRET-it-is came",
        "open http://127.0.0.1:50500/#key=SECRET now",
        "postgresql://log:SECRET@db:5432/log can't be reached",
        "host=db password=SECRET user=log",
    ],
)
def test_what_no_log_should_have_is_not_shown_to_browsers_besides(tmp_path: Path, line: str) -> None:
    (tmp_path / "n1.log").write_text(f"before\n{line}\n")
    shown = tail_of(tmp_path, "n1", 10)["lines"][1]
    assert "SECRET" not in shown
    assert "[hidden]" in shown


async def test_both_are_an_operators(cluster: FakeCluster, tmp_path: Path) -> None:
    async with running_console(cluster, key_file=str(tmp_path / "key"), audit_folder=str(tmp_path)) as console:
        for path in ("/api/audit", "/api/audit/verify", "/api/logs", "/api/logs/tail?name=n1"):
            assert (await console.get(path))[0] == 401
