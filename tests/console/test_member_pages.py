"""What leaders' pages ask for: the nodes' answers, in the name of whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pyarrow
import pytest

from fasttree.v1 import report_pb2
from services.shared.security.guard import Refusal
from tests.command.fasttree_command import FastTree
from tests.console.conftest import Asking, running_console
from tests.fakes.cluster import FakeCluster


class Leaders:
    """A guard to whom every token is a leader's, who may nothing of what the console shows by itself."""

    def judge(self, *_: Any, **__: Any) -> Refusal:
        return Refusal("that is not a leader's", "NOT_ALLOWED")


@pytest.fixture
def heard(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The authorization of each report that the nodes were asked for."""
    found: list[str] = []
    fail = cluster.reports._fail

    async def note(request: Any, context: Any) -> None:
        found.append(dict(context.invocation_metadata()).get("authorization", ""))
        await fail(request, context)

    monkeypatch.setattr(cluster.reports, "_fail", note)
    return found


async def test_pages_show_what_the_command_prints(cluster: FakeCluster, console: Asking, tmp_path: Path) -> None:
    fasttree = FastTree(tmp_path, cluster.endpoints)
    (member,) = (await console.get("/api/search?prefix=m"))[1]["members"][:1]
    columns = ",".join(name for name in member if name != "name")
    for path, command in (
        ("/api/upline?id=m3", ("upline", "m3")),
        ("/api/frontline?id=m0", ("frontline", "m0")),
    ):
        status, answer = await console.get(path)
        assert status == 200, answer
        assert answer["members"] == (await fasttree(*command, "--columns", columns, "--json")).json["members"]
    _, downline = await console.get("/api/downline?id=m0&sort=pv&descending=1&min_rank=2&min_gv=1.50&max_level=3")
    assert [member["pv"] for member in downline["members"]] == ["4.00", "3.00", "2.00", "1.00", "0.00"]
    asked = cluster.reports.last_request
    assert (asked.sort.column, asked.sort.descending, asked.page_size) == ("pv", True, 100)
    assert (asked.filter.min_rank, asked.filter.max_level, asked.filter.ranges[0].min) == (2, 3, "150")
    _, one = await console.get("/api/member?id=m0")
    assert one["member"]["member_id"] == "m0"
    assert (await console.get("/api/tree"))[1]["columns"] == [{"name": "country", "type": "text", "personal": False}]


async def test_a_column_that_one_may_not_see_is_none_to_choose_or_find_by(
    cluster: FakeCluster, console: Asking
) -> None:
    told = report_pb2.ColumnDescription(name="name", type=report_pb2.COLUMN_TYPE_TEXT, personal=True, hidden=True)
    cluster.reports.columns.append(told)
    cluster.reports.members[2].columns["name"] = "Ann Meyer"
    assert "name" not in [each["name"] for each in (await console.get("/api/tree"))[1]["columns"]]
    _, found = await console.get("/api/search?prefix=m")
    assert (found["by_name"], {each["name"] for each in found["members"]}) == (False, {""})
    assert "name" not in cluster.reports.last_request.options.columns
    told.hidden = False
    assert {"name": "name", "type": "text", "personal": True} in (await console.get("/api/tree"))[1]["columns"]
    _, found = await console.get("/api/search?prefix=m2")
    assert (found["by_name"], found["members"][0]["name"]) == (False, "Ann Meyer")


async def test_a_whole_downline_is_a_file(console: Asking) -> None:
    async with console.session.get("/api/export?id=m0&columns=member_id%0Apv") as answer:
        lines = (await answer.text()).splitlines()
    assert lines[0] == "member_id,pv"
    assert len(lines) == 1 + (await console.get("/api/downline?id=m0"))[1]["total_count"]
    async with console.session.get("/api/export?id=m0&format=arrow&columns=member_id") as answer:
        table = pyarrow.ipc.open_stream(await answer.read()).read_all()
    assert table.column("member_id").to_pylist() == [line.split(",")[0] for line in lines[1:]]


async def test_a_file_that_breaks_off_does_not_look_whole(cluster: FakeCluster, console: Asking) -> None:
    cluster.reports.break_stream = True
    async with console.session.get("/api/export?id=m0") as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_where_nobody_judges_tokens_they_are_no_way_in(
    cluster: FakeCluster, tmp_path: Path, heard: list[str]
) -> None:
    async with running_console(cluster, key_file=str(tmp_path / "key")) as asking:
        status, answer = await asking.get("/api/frontline?id=m0", Authorization="Bearer a.b.c")
        assert status == 401
        assert "set [tokens]" in answer["error"]["message"]
    assert heard == []


async def test_a_leader_is_asked_for_by_his_token_alone(
    cluster: FakeCluster, tmp_path: Path, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.console.http.guarding.own_guard", Leaders)
    token = {"Authorization": "Bearer a.b.c"}
    async with running_console(cluster, key_file=str(tmp_path / "key")) as asking:
        assert (await asking.get("/api/frontline?id=m0"))[0] == 401
        assert heard == []
        paths = ["/api/tree", "/api/member?id=m0", "/api/upline?id=m3", "/api/frontline?id=m0", "/api/downline?id=m0"]
        paths += ["/api/search?prefix=m", "/api/summary?id=m0", "/api/joined?id=m0&until=2026-11-27&days=2"]
        for path in paths:
            assert (await asking.get(path, **token))[0] == 200, path
        async with asking.session.get("/api/export?id=m0", headers=token) as answer:
            assert answer.status == 200
        assert set(heard) == {"Bearer a.b.c"}
        assert len(heard) >= len(paths) + 2
        for path in ("/api/state", "/api/imports", "/api/held", "/api/rejected", "/api/periods", "/api/runbook"):
            assert (await asking.get(path, **token))[0] == 403, path
        key = {"X-FastTree-Key": (tmp_path / "key").read_text().strip()}
        heard.clear()
        assert (await asking.get("/api/frontline?id=m0", **key))[0] == 200
        assert heard == [""]
        # Who shows both looks as the leader would.
        assert (await asking.get("/api/frontline?id=m0", **key, **token))[0] == 200
        assert heard == ["", "Bearer a.b.c"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/member?id=nobody", 404, "nobody"),
        ("/api/downline?id=m0&max_level=-1", 400, "max_level must be a whole number"),
        ("/api/downline?id=m0&kind=robot", 400, "kind must be"),
        ("/api/downline?id=m0&min_gv=1.234", 400, "1.234"),
        ("/api/frontline?id=m0&tree=oak", 400, "tree must be"),
        ("/api/joined?id=m0&until=tomorrow", 400, "until must be a day"),
        ("/api/imports/refused?id=x", 400, "id must be"),
        ("/api/imports/refused?id=99", 404, "none of the newest"),
    ],
)
async def test_what_can_not_be_says_what_would_be_right(console: Asking, path: str, status: int, says: str) -> None:
    found, answer = await console.get(path)
    assert found == status
    assert says in answer["error"]["message"]


async def test_no_more_reports_are_asked_for_than_are_allowed(cluster: FakeCluster, monkeypatch: Any) -> None:
    async with running_console(cluster, reports_max=1) as asking:
        monkeypatch.setattr(asking.console.members, "open", 1)
        status, answer = await asking.get("/api/frontline?id=m0")
        assert (status, answer["error"]["message"]) == (429, "many reports are under way: ask again in a moment")
