"""Rules in the pusher's log: its first record, the door, months that end, and what import files bring."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.app import Pusher
from services.pusher.fanout.events import FileRules
from services.pusher.log.memory import MemoryLog
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import StoreFullError
from services.pusher.rules.founding import disagreements, founded
from services.pusher.rules.opening import openings
from services.pusher.rules.runner import Calendar
from services.pusher.rules.sealing import seals, untimely
from services.shared.clock import SettledWallClock
from services.shared.config.sections import ClusterSettings
from services.shared.domain.limits import PERIODS_MAX
from services.shared.domain.thresholds import ImportThresholds
from services.shared.rules import RULE_VERSION, Rules, RulesHistory, rules_of
from tests.fakes.node import FakeNode
from tests.pusher.imports.test_imports import ended, upload
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import ids_and_contents, order, orders
from tests.shared.rules.test_rules import after, closed, opened, posted, sealed, type_added
from tests.waiting import until

MONTH = f"{datetime.now(UTC):%Y-%m}"
RULES = rules_of(["PV"], ["2026-11"])
ROLL_UP = types_pb2.REMOVAL_VOLUME_ROLL_UP


def test_a_new_log_begins_with_the_month_of_that_day() -> None:
    store = MemoryLog().claim_alone()
    history = founded(store, ClusterSettings(), datetime(2031, 3, 1, tzinfo=UTC))
    assert history.newest == rules_of(["PV"], ["2031-03"])
    own = founded(
        MemoryLog().claim_alone(), ClusterSettings(import_removed_percent_max=7.5), datetime(2031, 3, 1, tzinfo=UTC)
    )
    assert own.newest.import_thresholds == ImportThresholds(removed_percent_max=7.5)
    assert store.ends().last == 1
    again = founded(store, ClusterSettings(volume_types=["CV"], periods=["2020-01"]))
    assert (again.newest, store.ends().last) == (history.newest, 1)


def test_a_log_of_a_version_before_gets_its_rules_at_its_end(tmp_path: Path) -> None:
    store = SqliteLog(tmp_path).claim_alone()
    store.append(*ids_and_contents(orders(0, 10)))
    store.close()
    older = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    older.executescript("DROP TABLE rules; PRAGMA user_version = 1;")
    older.close()
    store = SqliteLog(tmp_path).claim_alone()
    history = founded(store, ClusterSettings(periods=["2026-11", "2026-10"]))
    assert store.ends().last == 11
    assert history.at(5).version == 0
    assert history.at(5).periods == ("2026-11", "2026-10")
    assert history.at(11).version == RULE_VERSION
    store.close()
    store = SqliteLog(tmp_path).claim_alone()
    assert RulesHistory(store.rule_records()).newest == history.newest
    store.close()


def test_settings_that_say_something_else_are_told_with_the_command() -> None:
    assert disagreements(ClusterSettings(), RULES) == []
    assert disagreements(ClusterSettings(periods=["2026-11"]), RULES) == []
    changed = replace(RULES, import_thresholds=ImportThresholds(removed_percent_max=20.0))
    assert disagreements(ClusterSettings(), changed) == []
    assert disagreements(ClusterSettings(import_removed_percent_max=20.0), changed) == []
    (line,) = disagreements(ClusterSettings(import_removed_percent_max=7.0, import_threshold_members_min=9), changed)
    assert "members_min 9, removed_percent_max 7, are for a new log only" in line
    assert "members_min 1000, removed_percent_max 20: `fasttree rules set`" in line
    types, periods = disagreements(ClusterSettings(volume_types=["PV", "CV"], periods=["2026-12"]), RULES)
    assert "fasttree volume-type add" in types
    assert "fasttree period open" in periods


async def test_an_order_of_a_month_that_is_not_open_is_refused_and_its_id_is_free(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        good, early = await push(stub, [order(1), posted("early", "2199-01")])
        assert (good.code, good.position) == (code_pb2.OK, 2)
        assert (early.code, early.position) == (code_pb2.FAILED_PRECONDITION, 0)
        assert 'period "2199-01" is not open' in early.message
        assert pusher.store.ends().last == 2
        assert (await push(stub, [opened("2199-01")]))[0].position == 3
        taken = await push(stub, [posted("early", "2199-01")])
        assert (taken[0].code, taken[0].position) == (code_pb2.OK, 4)
        assert (await push(stub, [closed("2199-01")]))[0].code == code_pb2.OK
        # What was taken is a repeat, whatever the rules have become; what was not is refused.
        again, late = await push(stub, [posted("early", "2199-01"), posted("late", "2199-01")])
        assert (again.code, again.duplicate, again.position) == (code_pb2.OK, True, 4)
        assert late.code == code_pb2.FAILED_PRECONDITION
        assert "closed for good" in late.message


async def test_rules_and_orders_of_one_message_are_judged_in_their_order(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        updates = [posted("a", "2199-01"), opened("2199-01"), posted("b", "2199-01"), posted("c", volume_type="QV")]
        receipts = await push(stub, [*updates, type_added("QV"), posted("d", volume_type="QV")])
        assert [receipt.position for receipt in receipts] == [0, 2, 3, 0, 4, 5]
        answer = await stub.GetPusher(pusher_pb2.GetPusherRequest())
        assert list(answer.rules.volume_types) == ["PV", "QV"]
        assert list(answer.rules.open_periods) == [MONTH, "2199-01"]
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        assert (await push(stub, [posted("e", "2199-01", "QV")]))[0].position == 6


async def test_a_push_that_was_checked_before_the_rules_changed_is_judged_again(tmp_path: Path) -> None:
    """Two clients: one closes a month while the other's orders of that month are on their way."""
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await push(stub, [opened("2199-01")])

        async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
            for number in range(40):
                if number == 20:
                    yield pusher_pb2.PushUpdatesRequest(updates=[closed("2199-01")])
                yield pusher_pb2.PushUpdatesRequest(updates=[posted(f"o-{number}", "2199-01")])

        receipts = [receipt async for response in stub.PushUpdates(requests()) for receipt in response.receipts]
        codes = [receipt.code for receipt in receipts]
        assert codes == [code_pb2.OK] * 21 + [code_pb2.FAILED_PRECONDITION] * 20
        assert pusher.store.ends().last == 2 + 21


@pytest.mark.parametrize("update", [sealed("2026-11"), order(1)])
async def test_what_the_cluster_alone_says_is_refused_from_clients(update: types_pb2.Update, tmp_path: Path) -> None:
    mine = types_pb2.Update()
    mine.CopyFrom(update)
    mine.update_id = "fasttree/founded" if update.HasField("volume_posted") else update.update_id
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        (receipt,) = await push(stub, [mine])
        assert receipt.code == code_pb2.INVALID_ARGUMENT
        assert "pusher" in receipt.message
        assert pusher.store.ends().last == 1


def test_a_period_is_sealed_once_its_last_day_is_over() -> None:
    late = after(rules_of(["PV"], ["2026-12", "2026-11"]), closed("2026-11", "2026-12-05"))

    def at(day: int, hour: int) -> list[str]:
        return [
            each.period_sealed.period for each in seals(late, datetime(2026, 12, day, hour, tzinfo=UTC).timestamp())
        ]

    assert at(5, 23) == []
    assert at(6, 0) == ["2026-11"]


async def test_a_clock_that_jumps_seals_nothing_and_one_that_stays_does(tmp_path: Path) -> None:
    wall_s = [datetime(2026, 12, 1, tzinfo=UTC).timestamp()]
    calendar = Calendar(lambda: wall_s[0], SettledWallClock(0.05))
    async with late_november(tmp_path, calendar) as pusher, stub_of(pusher) as stub:
        for _ in range(3):
            wall_s[0] += 40 * 86_400
            await pusher.writer.look()
            wall_s[0] -= 40 * 86_400
            await pusher.writer.look()
        assert pusher.door.rules.sealed_periods == ()
        assert (await push(stub, [posted("late", "2026-11")]))[0].code == code_pb2.OK
        wall_s[0] += 6 * 86_400

        async def sealed_by_now() -> bool:
            await pusher.writer.look()
            return pusher.door.rules.sealed_periods == ("2026-11",)

        while not await sealed_by_now():
            pass
        assert (await push(stub, [posted("later", "2026-11")]))[0].code == code_pb2.FAILED_PRECONDITION


@pytest.mark.parametrize("settle_s", [0.0, 600.0], ids=["believed", "none believed yet"])
async def test_a_closing_whose_last_day_is_over_is_refused_and_its_id_is_free(settle_s: float, tmp_path: Path) -> None:
    """It would be sealed at once, for good, though days for what comes late were asked for."""
    wall_s = [datetime(2026, 12, 1, tzinfo=UTC).timestamp()]
    calendar = Calendar(lambda: wall_s[0], SettledWallClock(settle_s))
    async with late_november(tmp_path, calendar) as pusher, stub_of(pusher) as stub:

        def again(until: str) -> types_pb2.Update:
            change = types_pb2.PeriodClosed(period="2026-11", late_until=until)
            return types_pb2.Update(update_id="again", period_closed=change)

        over, late = await push(stub, [again("2026-11-30"), posted("late", "2026-11")])
        assert (over.code, over.position, late.position) == (code_pb2.FAILED_PRECONDITION, 0, 3)
        assert "2026-11-30 is over, by the pusher's clock it is 2026-12-01 (UTC)" in over.message
        assert "or none if it is to be closed for good; nothing was stored" in over.message
        (today,) = await push(stub, [again("2026-12-01")])
        assert (today.code, today.position) == (code_pb2.OK, 4)
        wall_s[0] += 86_400
        # What was taken is a repeat, whatever day it is.
        (repeat,) = await push(stub, [again("2026-12-01")])
        assert (repeat.code, repeat.duplicate, repeat.position) == (code_pb2.OK, True, 4)


def test_a_closing_is_too_late_from_the_day_after() -> None:
    for last, now, late in [
        ("2026-12-05", datetime(2026, 12, 5, 23, 59, 59, tzinfo=UTC), False),
        ("2026-12-05", datetime(2026, 12, 6, tzinfo=UTC), True),
        ("", datetime(2199, 1, 1, tzinfo=UTC), False),
    ]:
        assert (untimely(closed("2026-11", last), now.timestamp()) is not None) == late
    assert untimely(posted("o-1"), 0.0) is None


@contextlib.asynccontextmanager
async def late_november(folder: Path, calendar: Calendar) -> AsyncIterator[Pusher]:
    """A pusher whose November takes what comes late to the 5th of December."""
    store = MemoryLog().claim_alone()
    founded(store, ClusterSettings(periods=["2026-12", "2026-11"]))
    async with running_pusher(folder, store=store, calendar=calendar) as pusher, stub_of(pusher) as stub:
        await push(stub, [closed("2026-11", "2026-12-05")])
        yield pusher


@pytest.mark.parametrize("what", ["a push", "a record of the pusher's own"])
async def test_what_is_appended_after_the_last_day_stands_behind_the_seal(what: str, tmp_path: Path) -> None:
    """Nobody looked at the calendar between: the writer does, before it writes."""
    wall_s = [datetime(2026, 12, 5, 23, 59, tzinfo=UTC).timestamp()]
    calendar = Calendar(lambda: wall_s[0], SettledWallClock(0.0))
    async with late_november(tmp_path, calendar) as pusher, stub_of(pusher) as stub:
        assert (await push(stub, [posted("in time", "2026-11")]))[0].position == 3
        wall_s[0] += 60
        if what == "a push":
            late, other = await push(stub, [posted("late", "2026-11"), posted("other")])
            assert (late.code, other.position) == (code_pb2.FAILED_PRECONDITION, 5)
        else:
            pusher.rule_records.brought(FileRules(1, (), ("2026-12", "2199-01")))
            await until(lambda: pusher.store.ends().last == 5, "the month to be opened")
        records = RulesHistory(pusher.store.rule_records())
        assert records.at(3).late_periods
        assert records.at(4).sealed_periods == ("2026-11",)


async def test_a_seal_that_can_not_be_written_holds_up_nobody(tmp_path: Path) -> None:
    wall_s = [datetime(2026, 12, 1, tzinfo=UTC).timestamp()]
    calendar = Calendar(lambda: wall_s[0], SettledWallClock(0.0))
    async with late_november(tmp_path, calendar) as pusher, stub_of(pusher) as stub:
        append, full = pusher.store.append, [True]

        def append_but_for_seals(update_ids: Any, *rest: Any, **more: Any) -> Any:
            if full[0] and "fasttree/sealed-2026-11" in update_ids:
                raise StoreFullError("the disk is full")
            return append(update_ids, *rest, **more)

        pusher.store.append = append_but_for_seals  # type: ignore[method-assign]
        wall_s[0] += 10 * 86_400
        assert (await push(stub, [posted("a")]))[0].position == 3
        full[0] = False
        assert (await push(stub, [posted("b")]))[0].position == 5
        assert pusher.door.rules.sealed_periods == ("2026-11",)


def test_what_a_file_brought_is_opened_once_and_never_against_its_seal() -> None:
    brought = FileRules(3, ("QV",), ("2026-08", "2026-09"))
    ids = [update.update_id for update in openings(RULES, brought)]
    assert ids == ["fasttree/import-3/type-QV", "fasttree/import-3/period-2026-08", "fasttree/import-3/period-2026-09"]
    rules: Rules = after(RULES, *openings(RULES, brought))
    assert openings(rules, brought) == []
    assert openings(after(rules, closed("2026-08")), brought) == []


def test_what_a_file_brought_is_opened_whole_or_not_at_all() -> None:
    types = tuple(f"V{number}" for number in range(31))
    months = tuple(f"2{number:03}-01" for number in range(31))
    assert len(openings(RULES, FileRules(3, types, months))) == 62
    assert openings(RULES, FileRules(3, types, (*months, "1999-01"))) == []
    full = after(RULES, *(opened(f"2{number:03}-01") for number in range(PERIODS_MAX - 2)))
    assert len(openings(full, FileRules(3, (), ("1999-01",)))) == 1
    assert openings(full, FileRules(3, (), ("1999-01", "1999-02"))) == []


async def test_that_there_is_no_room_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running_pusher(tmp_path) as pusher:
        for _ in range(3):
            pusher.rule_records.brought(FileRules(4, tuple(f"V{number}" for number in range(64)), ()))
        assert pusher.door.rules.volume_types == ("PV",)
    told = [record.getMessage() for record in caplog.records if "import 4" in record.getMessage()]
    assert told == [
        "what import 4 brought takes no orders, and is only read: 64 volume types more than the 1 that the cluster has "
        "make 65, and 64 fit: leave some out"
    ]


async def test_what_a_file_means_is_stamped_when_it_is_taken_and_kept_when_it_comes_back(tmp_path: Path) -> None:
    node = await FakeNode("n1").start()
    async with running_pusher(tmp_path, [node]) as pusher, stub_of(pusher) as stub:
        await until(lambda: node.position == 1, "the node to have the rules")
        for number in (1, 2):
            await upload(stub, b"member_id,pv\nA,1.00\n", f"{number}.csv")
            await ended(stub)
            await push(stub, [opened(f"2199-0{number}", current=True)])
        manifests = [pusher.catalog.status(import_id).manifest for import_id in (1, 2)]
        assert [each.rules.current_period for each in manifests] == [MONTH, "2199-01"]
        again = (await stub.RollbackImport(pusher_pb2.RollbackImportRequest())).manifest
        assert again.rules == manifests[0].rules
        assert [each.volume for each in manifests[1].removal_rules] == [types_pb2.REMOVAL_VOLUME_LEAVES, ROLL_UP]
        current = [(each.position, each.period) for each in manifests[1].current_periods]
        assert current == [(0, MONTH), (2, "2199-01")]
    await node.stop()


async def test_orders_go_where_a_file_opened_a_month(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        pusher.rule_records.brought(FileRules(1, (), ("2199-01",)))
        await until(lambda: "2199-01" in pusher.door.rules.open_periods, "the month to be opened")
        assert (await push(stub, [posted("o-1", "2199-01")]))[0].code == code_pb2.OK
