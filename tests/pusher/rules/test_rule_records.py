"""Rules in the pusher's log: its first record, the door, months that end, and what import files bring."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.fanout.events import FileRules
from services.pusher.log.memory import MemoryLog
from services.pusher.log.sqlite import SqliteLog
from services.pusher.rules.founding import disagreements, founded
from services.pusher.rules.opening import openings
from services.pusher.rules.runner import RuleRecords
from services.pusher.rules.sealing import seals
from services.shared.clock import SettledWallClock
from services.shared.config.sections import ClusterSettings
from services.shared.rules import Rules, RulesHistory, rules_of
from tests.fakes.node import FakeNode
from tests.pusher.imports.test_imports import ended, upload
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import ids_and_contents, order, orders
from tests.shared.rules.test_rules import after, closed, opened, posted, sealed, type_added
from tests.waiting import until

MONTH = f"{datetime.now(UTC):%Y-%m}"
RULES = rules_of(["PV"], ["2026-11"])


def test_a_new_log_begins_with_the_month_of_that_day() -> None:
    store = MemoryLog()
    history = founded(store, ClusterSettings(), datetime(2031, 3, 1, tzinfo=UTC))
    assert history.newest == rules_of(["PV"], ["2031-03"])
    assert store.ends().last == 1
    again = founded(store, ClusterSettings(volume_types=["CV"], periods=["2020-01"]))
    assert (again.newest, store.ends().last) == (history.newest, 1)


def test_a_log_of_a_version_before_gets_its_rules_at_its_end(tmp_path: Path) -> None:
    store = SqliteLog(tmp_path)
    store.append(*ids_and_contents(orders(0, 10)))
    store.close()
    older = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    older.executescript("DROP TABLE rules; PRAGMA user_version = 1;")
    older.close()
    store = SqliteLog(tmp_path)
    history = founded(store, ClusterSettings(periods=["2026-11", "2026-10"]))
    assert store.ends().last == 11
    assert history.at(5).version == 0
    assert history.at(5).periods == ("2026-11", "2026-10")
    assert history.at(11).version == 1
    store.close()
    store = SqliteLog(tmp_path)
    assert RulesHistory(store.rule_records()).newest == history.newest
    store.close()


def test_settings_that_say_something_else_are_told_with_the_command() -> None:
    assert disagreements(ClusterSettings(), RULES) == []
    assert disagreements(ClusterSettings(periods=["2026-11"]), RULES) == []
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
    cluster = ClusterSettings(periods=["2026-12", "2026-11"])
    store = MemoryLog()
    founded(store, cluster)
    async with running_pusher(tmp_path, store=store) as pusher, stub_of(pusher) as stub:
        parts = (pusher.door, pusher.writer, pusher.background)
        records = RuleRecords(*parts, wall=lambda: wall_s[0], clock=SettledWallClock(0.05))
        await push(stub, [closed("2026-11", "2026-12-05")])
        for _ in range(3):
            wall_s[0] += 40 * 86_400
            await records.look()
            wall_s[0] -= 40 * 86_400
            await records.look()
        assert pusher.door.rules.sealed_periods == ()
        assert (await push(stub, [posted("late", "2026-11")]))[0].code == code_pb2.OK
        wall_s[0] += 6 * 86_400

        async def sealed_by_now() -> bool:
            await records.look()
            return pusher.door.rules.sealed_periods == ("2026-11",)

        while not await sealed_by_now():
            pass
        assert (await push(stub, [posted("later", "2026-11")]))[0].code == code_pb2.FAILED_PRECONDITION


def test_what_a_file_brought_is_opened_once_and_never_against_its_seal() -> None:
    brought = FileRules(3, ("QV",), ("2026-08", "2026-09"))
    ids = [update.update_id for update in openings(RULES, brought)]
    assert ids == ["fasttree/import-3/type-QV", "fasttree/import-3/period-2026-08", "fasttree/import-3/period-2026-09"]
    rules: Rules = after(RULES, *openings(RULES, brought))
    assert openings(rules, brought) == []
    assert openings(after(rules, closed("2026-08")), brought) == []


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
        current = [(each.position, each.period) for each in manifests[1].current_periods]
        assert current == [(0, MONTH), (2, "2199-01")]
    await node.stop()


async def test_orders_go_where_a_file_opened_a_month(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        pusher.rule_records.brought(FileRules(1, (), ("2199-01",)))
        await until(lambda: "2199-01" in pusher.door.rules.open_periods, "the month to be opened")
        assert (await push(stub, [posted("o-1", "2199-01")]))[0].code == code_pb2.OK
