"""Pages of uplines, held and rejected updates: all of them by any page size, whatever changes in between."""

from __future__ import annotations

import numpy as np
import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.treenode.reports import ReportLimits
from services.treenode.tree import NO_DAY, ImportTable, Tree
from tests.treenode.reports.conftest import SMALL_LIMITS, Served, Services
from tests.treenode.reports.genealogies import config
from tests.treenode.tree.say import enrol, move, order, remove

BOTH_WAYS = pytest.mark.parametrize("limits", [None, SMALL_LIMITS], ids=["on the loop", "in threads"])
#: Of the longest chain: a stock client takes 4 MiB, which its upline in one message would pass more than twice.
DEPTH = 350_000


def chain(depth: int) -> Tree:
    """m0 on top, each the sponsor and placement of the next."""
    above = np.arange(-1, depth - 1, dtype=np.int32)
    table = ImportTable(
        member_ids=np.char.add(np.bytes_(b"m"), np.arange(depth).astype("S8")).astype("S8"),
        sponsor=above,
        placement=above,
        placement_leg=(above >= 0).astype(np.int32),
        kind=np.ones(depth, np.uint8),
        status=np.zeros(depth, np.int16),
        status_names=["A"],
        rank=np.zeros(depth, np.int16),
        joined_on=np.full(depth, NO_DAY, np.int32),
    )
    return Tree.from_table(table, config(), 1, 0)


def ids(answer: report_pb2.ListUplineResponse) -> list[str]:
    return [member.member_id for member in answer.members]


async def test_the_upline_of_a_very_long_chain_comes_through_a_stock_client(services: Services) -> None:
    served = await services.start(chain(DEPTH))
    request = report_pb2.ListUplineRequest(member_id=f"m{DEPTH - 1}", page_size=10_000)
    pages = 0
    next_id = DEPTH - 2
    while True:
        answer = await served.stub.ListUpline(request)
        assert answer.total_count == DEPTH - 1
        assert ids(answer) == [f"m{next_id - index}" for index in range(len(answer.members))]
        assert answer.members[0].level == DEPTH - 1 - next_id
        next_id -= len(answer.members)
        pages += 1
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert next_id == -1
    assert pages == 35
    request = report_pb2.ListUplineRequest(member_id=f"m{DEPTH - 1}")
    assert len((await served.stub.ListUpline(request)).members) == 1_000


@BOTH_WAYS
async def test_an_upline_goes_on_while_it_changes(services: Services, limits: ReportLimits | None) -> None:
    served = await services.start(chain(10), limits)
    request = report_pb2.ListUplineRequest(member_id="m9", page_size=3)

    async def page() -> list[str]:
        answer = await served.stub.ListUpline(request)
        request.page_token = answer.next_page_token
        return ids(answer)

    assert await page() == ["m8", "m7", "m6"]
    # One that was shown leaves, one joins below: the page goes on above the last one shown.
    await served.node.apply([remove("m8"), enrol("new", "m7"), move("m9", "new")])
    assert await page() == ["m5", "m4", "m3"]
    # The last one shown leaves: it goes on in its place.
    await served.node.apply([remove("m3")])
    assert await page() == ["m2", "m1", "m0"]
    assert request.page_token == ""


@BOTH_WAYS
async def test_empty_places_fill_no_page(services: Services, limits: ReportLimits | None) -> None:
    served = await services.start(chain(8), limits)
    await served.node.apply([remove(f"m{number}", leave_empty=True) for number in (6, 5, 1)])
    request = report_pb2.ListUplineRequest(member_id="m7", page_size=2)
    answer = await served.stub.ListUpline(request)
    assert ([(member.member_id, member.level) for member in answer.members], answer.total_count) == (
        [("m4", 3), ("m3", 4)],
        4,
    )
    # An empty place is no end of a page that was lost: the member comes back, and is not missed.
    request.page_token = answer.next_page_token
    await served.node.apply([remove("m3", leave_empty=True)])
    assert ids(await served.stub.ListUpline(request)) == ["m2", "m0"]


async def held_pages(served: Served, limit: int, **asked: str) -> list[str]:
    """Update ids of all pages, and how many pages there were."""
    request = report_pb2.ListHeldUpdatesRequest(limit=limit, **asked)  # type: ignore[arg-type]
    found: list[str] = []
    while True:
        answer = await served.stub.ListHeldUpdates(request)
        assert len(answer.updates) <= limit
        found += [update.update_id for update in answer.updates]
        request.page_token = answer.next_page_token
        if not request.page_token:
            assert answer.total_count == len(found)
            return found


@BOTH_WAYS
async def test_pages_of_held_updates(services: Services, limits: ReportLimits | None) -> None:
    served = await services.start(chain(3), limits)
    updates = [order(f"x{number % 3}", 100) for number in range(10)]
    for number, update in enumerate(updates):
        update.update_id = f"{'order' if number % 2 else 'return'}-{number}"
    await served.node.apply(updates)
    everything = [update.update_id for update in updates]
    for limit in (1, 3, 10, 11):
        assert await held_pages(served, limit) == everything
        assert await held_pages(served, limit, member_id="x1") == everything[1::3]
        assert await held_pages(served, limit, update_id_prefix="order-") == everything[1::2]
    assert await held_pages(served, 2, member_id="x1", update_id_prefix="return") == ["return-4"]
    assert await held_pages(served, 2, member_id="nobody") == []
    # What is released between two pages is not seen again, and nothing else is missed.
    request = report_pb2.ListHeldUpdatesRequest(limit=4)
    request.page_token = (await served.stub.ListHeldUpdates(request)).next_page_token
    await served.node.apply([enrol("x0")])
    rest = await served.stub.ListHeldUpdates(request)
    assert [update.position for update in rest.updates] == [5, 6, 8, 9]


@BOTH_WAYS
async def test_pages_of_rejected_updates_go_back_from_the_newest(
    services: Services, limits: ReportLimits | None
) -> None:
    served = await services.start(chain(3), limits)
    updates = [order("m1", 1, volume_type="XX") for _ in range(7)]
    for number, update in enumerate(updates):
        update.update_id = f"{'order' if number % 2 else 'return'}-{number}"
    await served.node.apply(updates)
    request = report_pb2.ListRejectedUpdatesRequest(limit=3)
    pages = []
    while True:
        answer = await served.stub.ListRejectedUpdates(request)
        pages.append([update.position for update in answer.updates])
        assert answer.total_count == 7
        assert all(update.outcome == types_pb2.OUTCOME_REJECTED for update in answer.updates)
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
    assert pages == [[5, 6, 7], [2, 3, 4], [1]]
    request = report_pb2.ListRejectedUpdatesRequest(limit=2, update_id_prefix="order")
    answer = await served.stub.ListRejectedUpdates(request)
    assert ([update.position for update in answer.updates], answer.total_count) == ([4, 6], 3)
    request.page_token = answer.next_page_token
    assert [update.position for update in (await served.stub.ListRejectedUpdates(request)).updates] == [2]
