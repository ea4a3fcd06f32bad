"""Conditions on the command line, as the filter that a node gets; and the holding tank."""

from __future__ import annotations

import click
import pytest

from fasttree.command.main import cli
from fasttree.command.session import Session
from fasttree.v1 import report_pb2, types_pb2
from services.shared.serving.errors import InvalidArgumentError
from services.treenode.reports.plan.choice import Catalogue, choose
from services.treenode.reports.plan.filters import compile_filter
from services.treenode.reports.plan.paging import sort_of
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster
from tests.fakes.reports import FakeReports

ALL = (
    *("--min", "level", "1", "--max", "level", "4", "--min", "rank", "-2", "--max", "rank", "3"),
    *("--min", "joined_on", "2026-01-31", "--max", "joined_on", "2026-02-01"),
    *("--is", "status", "A", "--is", "status", "T", "--is", "kind", "customer"),
    *("--min", "gv", "1000", "--max", "gv", "2000.5", "--min", "pv", "-3", "--is", "downline_count", "0"),
)
WANTED = report_pb2.DownlineFilter(
    min_level=1,
    max_level=4,
    min_rank=-2,
    max_rank=3,
    joined_from="2026-01-31",
    joined_to="2026-02-01",
    statuses=["A", "T"],
    kinds=[types_pb2.MEMBER_KIND_CUSTOMER],
    ranges=[
        report_pb2.ColumnRange(column="gv", min="100000", max="200050"),
        report_pb2.ColumnRange(column="pv", min="-300"),
        report_pb2.ColumnRange(column="downline_count", any_of=["0"]),
    ],
)


@pytest.mark.parametrize("command", ["downline", "summary", "largest"])
async def test_every_condition_reaches_the_node(cluster: FakeCluster, fasttree: FastTree, command: str) -> None:
    ran = await fasttree(command, "m1", *ALL)
    assert ran.code == 0, ran.err
    assert cluster.reports.last_request.filter == WANTED
    nothing_further = Catalogue(volume_types=("PV",), periods=("2026-11",), further={})
    assert len(compile_filter(WANTED, nothing_further).conditions) == 8


async def test_further_columns_go_as_they_are_written(cluster: FakeCluster, fasttree: FastTree) -> None:
    await fasttree("downline", "--min", "zip=a,b", "0..9", "--is", "country", "CH", "--is", "country", "")
    assert list(cluster.reports.last_request.filter.ranges) == [
        report_pb2.ColumnRange(column="zip=a,b", min="0..9"),
        report_pb2.ColumnRange(column="country", any_of=["CH", ""]),
    ]


async def test_one_value_of_what_has_bounds_alone(cluster: FakeCluster, fasttree: FastTree) -> None:
    await fasttree("downline", "--is", "rank", "0", "--is", "joined_on", "2026-01-31", "--is", "level", "2")
    assert cluster.reports.last_request.filter == report_pb2.DownlineFilter(
        min_level=2, max_level=2, min_rank=0, max_rank=0, joined_from="2026-01-31", joined_to="2026-01-31"
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--min", "status", "A"), "--min status: it has no order; write --is status VALUE"),
        (("--max", "kind", "customer"), "--max kind: it has no order; write --is kind VALUE"),
        (("--is", "kind", "dog"), "--is kind: 'dog' is not one of 'distributor', 'customer'."),
        (("--min", "gv", "1.005"), "--min gv: '1.005' is not an amount: write a number"),
        (("--min", "joined_on", "2026-02-30"), '--min joined_on: "2026-02-30" is not a day: write it as 2026-11-30'),
        (("--is", "gv", ""), "--is gv: a value is missing"),
        (("--min", "country", ""), "--min country: a value is missing"),
        (("--min", "rank", "9" * 12), "--min rank: 999999999999 is not in the range -2,147,483,648 to 2,147,483,647."),
        (("--max", "level", "0"), "--max level: 0 is not in the range 1 to 2,147,483,647."),
        (("--min", "sponsor_id", "7"), '--min "sponsor_id": members are not filtered by that; write one of level,'),
        (("--is", "volumes", "7"), '--is "volumes": members are not filtered by that; write one of level,'),
        (("--levels", "3", "--max", "level", "2"), "--max level: --levels says that already; leave one of them out"),
        (("--min", "gv", "1", "--min", "gv", "2"), "--min gv: --min says that already; leave one of them out"),
        (("--is", "rank", "1", "--is", "rank", "2"), "--is rank: --is says that already; leave one of them out"),
    ],
)
def test_what_can_not_be_is_refused_by_the_option(words: tuple[str, ...], why: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        cli.main(["downline", *words], standalone_mode=False, obj=Session())
    assert refused.value.message.startswith(why)


NOTHING_FURTHER = Catalogue(volume_types=("PV",), periods=("2026-11",), further={})
FILTERED = "use one of level, rank, joined_on, status, kind, pv, gv, downline_count"
SHOWN = "use one of member_id, sponsor_id, "


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("downline", "--min", "gv", "1", "--is", "name", "X"), f'--is: no column "name" here: {FILTERED}'),
        (("summary", "--min", "PV", "1"), f'--min: no column "PV" here: did you mean "pv"? {FILTERED}'),
        (("largest", "--max", "Rank", "1"), f'--max: no column "Rank" here: did you mean "rank"? {FILTERED}'),
        (("downline", "--columns", "shoe"), f'--columns: no column "shoe" here: {SHOWN}'),
        (("member", "m1", "--columns", "PV"), f'--columns: no column "PV" here: did you mean "pv"? {SHOWN}'),
        (("frontline", "--sort", "-shoe"), f'--sort: no column "shoe" here: {SHOWN}'),
        (("largest", "--by", "shoe"), f'--by: no column "shoe" here: {SHOWN}'),
        (("largest", "--as-number"), '--as-number is for columns of texts, and "gv" is none: leave it out'),
        (
            ("search", "m", "--period", "2026-01"),
            '--period "2026-01" is not in this tree: use one of 2026-11; a month that is closed for good is named '
            "--as-of-period\n",
        ),
        (("search", "m", "--volume-type", "XV"), '--volume-type "XV" is not in this tree: use one of PV'),
    ],
)
async def test_what_a_node_refuses_is_said_of_the_option(
    cluster: FakeCluster, fasttree: FastTree, words: tuple[str, ...], said: str
) -> None:
    assert (await fasttree(*words)).code == 0
    asked = cluster.reports.last_request
    with pytest.raises(InvalidArgumentError) as refused:  # by a node's own code
        choose(asked.options, NOTHING_FURTHER)
        compile_filter(getattr(asked, "filter", report_pb2.DownlineFilter()), NOTHING_FURTHER)
        sort_of(asked.sort, NOTHING_FURTHER)
    cluster.reports.refusal = refused.value
    ran = await fasttree(*words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: {said}")


async def test_the_holding_tank_page_by_page_up_to_a_limit(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.reports.members = FakeReports(12_005).members
    ran = await fasttree("holding-tank", "m1", "--limit", "12000", "--columns", "member_id", "--json")
    assert (len(ran.json["members"]), ran.json["total_count"]) == (12_000, 12_005)
    assert cluster.reports.calls == 2
    assert cluster.reports.last_request.member_id == "m1"
    first = await fasttree("holding-tank", "--limit", "1", "--columns", "member_id")
    assert first.out.splitlines()[-1] == "1 member, as of import 1, position 7 (n1); total count 12005"
