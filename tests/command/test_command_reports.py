"""Report commands against a small cluster in this process."""

import csv
import io
from pathlib import Path

import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.shared.rules import rules_of
from services.treenode.imports.reading import read_import
from services.treenode.reports.copy.extents import catalogue_of
from services.treenode.reports.encode.single import MemberEncoder
from services.treenode.reports.plan.choice import choose
from services.treenode.tree import Tree
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster
from tests.fakes.reports import FakeReports

DEFAULT = "member_id,sponsor_id,level,status,rank,joined_on,pv,gv,downline_count"


async def test_members_in_the_order_asked(fasttree: FastTree) -> None:
    ran = await fasttree("member", "m2", "m1")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == DEFAULT.split(",")
    assert lines[1].split() == ["m2", "m1", "2", "A", "3", "2026-01-02", "2.00", "1.50", "2"]
    assert lines[2].split()[0] == "m1"
    assert lines[3] == "2 members, as of import 1, position 7 (n1)"


async def test_an_unknown_member_is_named_beside_those_found(fasttree: FastTree) -> None:
    ran = await fasttree("member", "m1", "x9", "--json")
    assert ran.code == 1
    assert [row["member_id"] for row in ran.json["members"]] == ["m1"]
    assert ran.json["unknown_member_ids"] == ["x9"]
    assert ran.err == "error: no member x9; `fasttree search PREFIX` finds ids\n"


async def test_json_says_what_it_is_as_of(fasttree: FastTree) -> None:
    ran = await fasttree("--json", "member", "m1", "--columns", "member_id,pv,kind,country")
    assert ran.json == {
        "as_of": {"import_id": 1, "position": 7, "epoch": 2, "fresh_at": None, "node": "n1"},
        "members": [{"member_id": "m1", "pv": "1.00", "kind": "distributor", "country": "CH"}],
        "unknown_member_ids": [],
    }


async def test_upline_and_front_line(fasttree: FastTree) -> None:
    upline = await fasttree("upline", "m3", "--json")
    assert [row["member_id"] for row in upline.json["members"]] == ["m2", "m1", "m0"]
    front = await fasttree("frontline", "m1", "--json")
    assert [row["member_id"] for row in front.json["members"]] == ["m2"]
    roots = await fasttree("frontline", "--json")
    assert [row["member_id"] for row in roots.json["members"]] == ["m0"]
    missing = await fasttree("upline", "x")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == "error: no member x; search by its beginning\n"


async def test_a_long_upline_and_long_lists_are_gathered_page_by_page(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.reports.members = FakeReports(20_003).members
    upline = await fasttree("upline", "m20002", "--columns", "member_id,level", "--json")
    assert [row["level"] for row in upline.json["members"]] == list(range(1, 20_003))
    assert upline.json["members"][-1]["member_id"] == "m0"
    assert cluster.reports.calls == 3
    cluster.reports.held_positions = list(range(1, 12_346))
    held = await fasttree("held", "--limit", "12000", "--json")
    assert [row["position"] for row in held.json["updates"]] == list(range(1, 12_001))
    assert held.json["total_count"] == 12_345
    one = await fasttree("held", "--member", "99", "--update-id", "o-1234", "--json")
    assert [row["position"] for row in one.json["updates"]] == [1_234, *range(12_340, 12_346)]
    nobody = await fasttree("held", "--member", "98")
    assert nobody.out == "0 held, as of import 1, position 7 (n1)\n"


async def test_summary(fasttree: FastTree) -> None:
    ran = await fasttree("summary", "m0", "--json")
    assert ran.json["total"] == {"members": 5, "pv": "10.00"}
    assert ran.json["by_level"][1] == {"level": 1, "members": 1, "pv": "1.00"}
    assert ran.json["by_rank"] == [{"rank": 3, "members": 5, "pv": "10.00"}]
    assert ran.json["by_status"] == [{"status": "7", "members": 5, "pv": "10.00"}], "a status is a text"
    text = await fasttree("summary")
    assert text.out.splitlines()[0].split() == ["level", "members", "pv"]
    assert text.out.splitlines()[-1].startswith("5 members, pv 10.00, as of import 1")


async def test_downline_as_csv(fasttree: FastTree) -> None:
    ran = await fasttree("downline", "m0", "--format", "csv")
    rows = list(csv.reader(io.StringIO(ran.out)))
    assert rows[0] == DEFAULT.split(",")
    assert rows[1] == ["m0", "", "0", "A", "3", "2026-01-02", "0.00", "1.50", "4"]
    assert len(rows) == 6
    assert ran.err == ""


async def test_downline_as_json_and_table(fasttree: FastTree) -> None:
    ran = await fasttree("downline", "--format", "json", "--columns", "member_id,gv")
    assert ran.json["as_of"]["position"] == 7
    assert ran.json["members"][4] == {"member_id": "m4", "gv": "1.50"}
    assert (await fasttree("downline", "--json", "--columns", "member_id,gv")).out == ran.out
    table = await fasttree("downline", "--levels", "3", "--columns", "member_id")
    assert table.out.splitlines() == [
        "member_id",
        "m0",
        "m1",
        "m2",
        "m3",
        "m4",
        "5 members, as of import 1, position 7 (n1)",
    ]


async def test_what_csv_exports_is_imported_again_whole(
    cluster: FakeCluster, fasttree: FastTree, tmp_path: Path
) -> None:
    note = 'a\r\nb\t"c",\r'
    columns = {"zip": "02134", "note": note, "points": "-7", "ratio": "1.5", "since": "2026-01-31", "a:b": " x "}
    for member in cluster.reports.members:
        member.columns.clear()
        member.columns.update(columns)
    kinds = {"points": "INTEGER", "ratio": "DECIMAL", "since": "DATE"}
    cluster.reports.columns = [
        report_pb2.ColumnDescription(
            name=name, type=report_pb2.ColumnType.Value(f"COLUMN_TYPE_{kinds.get(name, 'TEXT')}")
        )
        for name in columns
    ]
    ran = await fasttree("downline", "m0", "--format", "csv", "--columns", "*")
    file = tmp_path / "exported.csv"
    file.write_text(ran.out, encoding="utf-8", newline="")
    table = read_import(file)
    assert [member_id.decode() for member_id in table.member_ids.tolist()] == [f"m{index}" for index in range(5)]
    assert table.sponsor.tolist() == [-1, 0, 1, 2, 3]
    assert table.volumes["PV", "2026-11"].tolist() == [0, 100, 200, 300, 400]
    assert {name: column.kind for name, column in table.further.items()} == {
        name: kinds.get(name, "TEXT").lower() for name in columns
    }
    tree = Tree.from_table(table, rules_of(("PV",), ("2026-11",)), 1, 0)
    encoded = MemberEncoder().encode(tree, choose(report_pb2.ReportOptions(columns=["*"]), catalogue_of(tree)), "m4")
    assert dict(report_pb2.GetMemberResponse.FromString(encoded).member.columns) == columns


async def test_a_table_shows_control_characters_as_people_write_them(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.reports.members[0].columns["country"] = "a\nb\t\x9b31m\r"
    lines = (await fasttree("downline", "--columns", 'member_id,"country"')).out.splitlines()
    assert lines[1] == "m0         a\\nb\\t\\u009b31m\\r"
    assert len(lines) == 7


async def test_options_reach_the_request(cluster: FakeCluster, fasttree: FastTree) -> None:
    await fasttree(
        *("downline", "m1", "--levels", "2", "--tree", "placement", "--volume-type", "CV", "--period", "2026-10"),
        *("--min-position", "5", "--columns", "*"),
    )
    request = cluster.reports.last_request
    assert isinstance(request, report_pb2.StreamDownlineRequest)
    assert (request.member_id, request.filter.max_level) == ("m1", 2)
    options = request.options
    assert (options.tree, options.volume_type, options.period) == (types_pb2.TREE_PLACEMENT, "CV", "2026-10")
    assert options.min_position == 5
    assert "country" in options.columns


async def test_texts_are_sorted_as_numbers_where_that_is_asked(cluster: FakeCluster, fasttree: FastTree) -> None:
    await fasttree("frontline", "m1", "--sort", "-zip", "--as-number")
    asked = cluster.reports.last_request.sort
    assert (asked.column, asked.descending, asked.as_number) == ("zip", True, True)
    await fasttree("largest", "--by", "zip", "--as-number")
    asked = cluster.reports.last_request.sort
    assert (asked.column, asked.descending, asked.as_number) == ("zip", True, True)


async def test_a_wide_table_keeps_its_columns(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.reports.members = FakeReports(2_500).members
    lines = (await fasttree("downline", "--columns", "member_id,pv")).out.splitlines()
    assert len(lines) == 2_502
    assert lines[1] == "m0           0.00"
    assert lines[2_500] == "m2499      2499.00"


async def test_a_reader_that_has_enough_is_no_error(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    cluster.reports.members = FakeReports(20_000).members
    import asyncio
    import sys

    command = (
        f"{sys.executable} -m fasttree.command --endpoints {fasttree.endpoints_path} downline --format csv | head -1"
    )
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    out, err = await process.communicate()
    assert out.decode().strip() == DEFAULT
    assert err == b""


async def test_what_is_small(cluster: FakeCluster, fasttree: FastTree) -> None:
    held = await fasttree("held", "--json")
    assert held.json["updates"] == [
        {"position": 3, "update_id": "o-3", "reason": "no member 99 yet", "waits_for": "99", "removed_position": 0}
    ]
    assert (await fasttree("held")).out.splitlines()[0].split() == ["position", "update_id", "reason", "waits_for"]
    assert (await fasttree("rejected")).out == "0 rejected, as of import 1, position 7 (n1)\n"
    cluster.reports.rejected_reason = "no update of position 5 is held"
    rejected = (await fasttree("rejected", "--update-id", "o-5")).out
    assert rejected.splitlines()[0].split() == ["position", "update_id", "reason"], "what is rejected waits for nobody"
    assert (await fasttree("rejected", "--json")).json["updates"][0].keys() == {"position", "update_id", "reason"}
    assert (await fasttree("search", "m", "--json")).json["members"][0]["member_id"] == "m0"
    top = await fasttree("largest", "--by", "pv", "--count", "2", "--json")
    assert [row["member_id"] for row in top.json["members"]] == ["m4", "m3"]
    described = await fasttree("describe", "--json")
    assert (described.json["further_columns"], described.json["personal_columns"]) == ({"country": "text"}, [])
    assert "volume types    PV" in (await fasttree("describe")).out


async def test_held_updates_are_settled(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.pusher.outcome = types_pb2.OUTCOME_APPLIED
    dropped = await fasttree("held", "drop", "3", "--reason", "mistyped")
    assert (dropped.code, dropped.out) == (0, "the held update of position 3: dropped at position 1\n")
    retried = await fasttree("held", "retry", "--member", "99", "--reason", "came back", "--json")
    assert retried.json["position"] == 2
    first, second = (update.held_settled for update in cluster.pusher.updates)
    assert (first.action, first.position, first.reason) == (types_pb2.HELD_ACTION_DROP, 3, "mistyped")
    assert (second.action, second.member_id, second.reason) == (types_pb2.HELD_ACTION_RETRY, "99", "came back")
    assert retried.json["update_id"] == cluster.pusher.updates[1].update_id


async def test_a_decision_that_came_to_nothing_says_why(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.pusher.outcome = types_pb2.OUTCOME_REJECTED
    ran = await fasttree("held", "drop", "5", "--reason", "mistyped")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: it was rejected at position 1; `fasttree rejected` says why\n"
    cluster.reports.rejected_reason = "no update of position 5 is held"
    ran = await fasttree("held", "drop", "5", "--reason", "mistyped")
    assert (ran.code, ran.out, ran.err) == (1, "", "error: no update of position 5 is held\n")
    assert cluster.reports.last_request.min_position == 2
    assert cluster.reports.last_request.update_id_prefix == cluster.pusher.updates[1].update_id


@pytest.mark.parametrize(
    "arguments",
    [
        ("drop", "--reason", "why"),
        ("drop", "3", "--member", "99", "--reason", "why"),
        ("retry", "3"),
        ("retry", "0", "--reason", "why"),
        ("forget", "3"),
    ],
)
async def test_a_decision_names_what_and_why(cluster: FakeCluster, fasttree: FastTree, arguments: tuple[str]) -> None:
    ran = await fasttree("held", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert not cluster.pusher.updates


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["downline", "--columns", "nonsense"], 1, "no column 'nonsense'; see `fasttree describe`"),
        (["downline", "--columns", ","], 2, "at least one column"),
        (["downline", "--columns", "pv,pv"], 2, "twice"),
        (["downline", "--format", "xml"], 2, "Try `fasttree downline --help`"),
        (["member"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
        (["member", "m1", "--node", "n9"], 1, "n1, n2"),
        (["member", "m1", "--endpoints", "nowhere.json"], 1, "nowhere.json does not exist"),
    ],
)
async def test_errors_are_one_line_with_the_way_out(
    fasttree: FastTree, arguments: list[str], code: int, says: str
) -> None:
    ran = await fasttree(*arguments)
    assert ran.code == code
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert says in ran.err


async def test_two_forms_at_once_are_refused(fasttree: FastTree) -> None:
    ran = await fasttree("downline", "m1", "--format", "csv", "--json")
    assert (ran.code, "--json and --format csv are two forms: leave one of them out" in ran.err) == (2, True)
    assert (await fasttree("downline", "m1", "--format", "json", "--json")).code == 0


@pytest.mark.parametrize("command", ["held", "rejected", "describe"])
async def test_options_that_would_do_nothing_are_none(fasttree: FastTree, command: str) -> None:
    assert (await fasttree(command, "--node", "n1", "--min-position", "1")).code == 0
    for option in ("--tree", "--volume-type", "--period"):
        ran = await fasttree(command, option, "placement")
        assert (ran.code, "No such option" in ran.err and option in ran.err) == (2, True)


async def test_all_columns_are_those_that_one_may_see(cluster: FakeCluster, fasttree: FastTree) -> None:
    """And the others are told of: a file without them that is imported empties them."""
    text = report_pb2.COLUMN_TYPE_TEXT
    cluster.reports.columns.append(report_pb2.ColumnDescription(name="phone", type=text, personal=True, hidden=True))
    assert "further columns country (text), phone (personal text)\n" in (await fasttree("describe")).out
    assert (await fasttree("describe", "--json")).json["personal_columns"] == ["phone"]
    for words in (["member", "m1"], ["downline", "m1", "--format", "csv"]):
        ran = await fasttree(*words, "--columns", "*")
        assert (ran.code, ran.err) == (0, "warning: without phone: personal, and no rule lets you see them\n")
        header = ran.out.splitlines()[0]
        assert ("country" in header, "phone" in header) == (True, False)
    ran = await fasttree("datatrax", "bonus-export", "bonus.csv")  # which comes back as an import
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: the file would lack phone: personal, and no rule lets you see them; export by")
    assert list(fasttree.endpoints_path.parent.glob("*bonus*")) == []
