"""Several processes with one log: who may write, and what becomes of one that may no longer, however late it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.pusher.log.fencing.fence import COPYING, MOVED, Fence, LogElsewhereError
from services.pusher.log.store import DeposedError, LogEnds, LogStore, NotInLogError, StoredImport
from tests.conformance.conftest import Engine
from tests.pusher.updates import ids_and_contents, order, orders


def put(store: LogStore, first: int, count: int) -> None:
    store.append(*ids_and_contents(orders(first, count)))


def all_ids(store: LogStore) -> list[str]:
    run = store.read(1, 1000, 1 << 20)
    records = treenode_pb2.ApplyUpdatesRequest.FromString(run.data).records
    return [types_pb2.Update.FromString(record.update).update_id for record in records]


@pytest.fixture
def writers(engine: Engine) -> tuple[LogStore, LogStore]:
    """One with ten updates written under epoch 1, which knows nothing of the other, whose epoch is 2."""
    old, new = engine.open(), engine.open()
    old.claim(1, "a")
    put(old, 0, 10)
    new.claim(2, "b")
    return old, new


def test_a_new_log_is_nobodys_and_takes_nothing_before_a_claim(engine: Engine) -> None:
    store = engine.open()
    assert store.fence() == Fence(0, "", 0)
    assert store.epoch == 0
    with pytest.raises(DeposedError, match="has not claimed"):
        put(store, 0, 1)
    assert store.ends() == LogEnds(1, 0)
    store.claim(1, "a")
    put(store, 0, 1)
    assert store.epoch == 1
    assert store.fence() == Fence(1, "a", 1)


@pytest.mark.parametrize(
    ("holder", "told"),
    [
        (
            f"{MOVED}schema other at db1/company, copy 7",
            r"moved to schema other at db1/company: set .*_schema = \"other\"",
        ),
        (COPYING, "let `fasttree log copy` finish"),
    ],
    ids=["moved", "copying"],
)
def test_a_log_that_is_elsewhere_is_no_pushers(writers: tuple[LogStore, LogStore], holder: str, told: str) -> None:
    """Nor that of the only one, which claims what is in force."""
    old, new = writers
    old.claim(3, holder)
    assert old.fence().elsewhere
    with pytest.raises(LogElsewhereError, match=told):
        put(new, 10, 1)
    for claim in (new.claim_alone, lambda: new.claim(3, "b"), lambda: new.claim(9, "a")):
        with pytest.raises(LogElsewhereError, match=told):
            claim()
    assert old.fence() == Fence(3, holder, 3)
    old.claim(3, holder)  # who moves it goes on


def test_a_claim_is_refused_under_an_older_epoch_and_changes_nothing(writers: tuple[LogStore, LogStore]) -> None:
    old, new = writers
    for epoch, holder in ((1, "a"), (1, "b"), (2, "a"), (2, "")):
        with pytest.raises(DeposedError) as refused:
            old.claim(epoch, holder)
        assert refused.value.epoch == 2
    assert new.fence() == Fence(2, "b", 2)
    put(new, 10, 1)
    with pytest.raises(ValueError, match="begin at 1"):
        old.claim(0, "a")


WRITES: dict[str, Callable[[LogStore], object]] = {
    "append": lambda store: put(store, 10, 1),
    "append of many": lambda store: put(store, 10, 1234),
    "append of a rule": lambda store: store.append(*ids_and_contents([order(10)]), [0]),
    "append of a repeat": lambda store: put(store, 3, 1),
    "append of a repeat and a new one": lambda store: put(store, 9, 2),
    "trim": lambda store: store.trim(5, 100),
    "adopt": lambda store: store.adopt("other", ["another"], "as a test"),
    "save_import": lambda store: store.save_import(StoredImport(pusher_pb2.ImportStatus(), taken=False)),
    "try_room": lambda store: store.try_room(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_deposed_writer_writes_nothing(
    writers: tuple[LogStore, LogStore], write: Callable[[LogStore], object]
) -> None:
    old, new = writers
    log_id = new.log_id
    with pytest.raises(DeposedError) as deposed:
        write(old)
    assert deposed.value.epoch == 2
    assert old.epoch == 0
    put(new, 20, 2)
    with pytest.raises(DeposedError):
        write(old)
    assert all_ids(new) == [f"order-{number}" for number in (*range(10), 20, 21)]
    assert new.rule_records() == []
    assert new.imports() == []
    new.follow(0, 1)
    assert new.log_id == log_id
    assert new.find(["order-10"]) == set()


def test_a_writer_that_was_deposed_long_ago_gets_no_position_that_others_have(
    writers: tuple[LogStore, LogStore], engine: Engine
) -> None:
    old, new = writers
    put(new, 10, 5)
    third = engine.open()
    third.claim(3, "c")
    put(third, 15, 5)
    for late in (old, new):
        with pytest.raises(DeposedError) as deposed:
            put(late, 100, 7)
        assert deposed.value.epoch == 3
    assert all_ids(third) == [f"order-{number}" for number in range(20)]


def test_the_same_holder_claims_again_and_the_process_before_is_deposed(engine: Engine) -> None:
    before, now = engine.open(), engine.open()
    before.claim(4, "a")
    put(before, 0, 3)
    now.claim(4, "a")
    put(now, 3, 3)
    with pytest.raises(DeposedError):
        put(before, 6, 1)
    assert all_ids(now) == [f"order-{number}" for number in range(6)]


def test_two_that_nobody_gives_epochs_are_never_both_at_it(engine: Engine) -> None:
    before, now = engine.open().claim_alone(), engine.open().claim_alone()
    assert now.fence() == Fence(1, "", 2)
    put(now, 0, 1)
    with pytest.raises(DeposedError):
        put(before, 1, 1)
    # In a log that was somebody's it goes on under that.
    now.claim(7, "b")
    alone = engine.open().claim_alone()
    assert alone.fence() == Fence(7, "b", 4)


def test_who_claims_knows_all_that_was_stored_before(engine: Engine) -> None:
    first, second = engine.open(), engine.open()
    first.claim(1, "a")
    put(first, 0, 100)
    first.trim(51, 100)
    put(first, 100, 10)
    second.claim(2, "b")
    assert second.ends() == LogEnds(51, 110)
    again = second.append(*ids_and_contents([order(3), order(70), order(105), order(8, 999), order(500)]))
    assert list(again.positions) == [4, 71, 106, 0, 111]
    assert again.duplicates == {0, 1, 2}
    assert again.conflicts == {3: 9}
    # And back: the first one knows nothing yet of what the second did.
    second.trim(91, 100)
    first.claim(3, "a")
    assert first.ends() == LogEnds(91, 111)
    assert list(first.append(*ids_and_contents([order(60), order(500)])).positions) == [61, 111]


def test_ids_survive_trims_and_merges_by_turns(engine: Engine) -> None:
    stores = [engine.open(), engine.open()]
    for turn in range(12):
        store, late = stores[turn % 2], stores[(turn + 1) % 2]
        store.claim(turn + 1, str(turn % 2))
        put(store, turn * 50, 50)
        store.trim(turn * 50 + 25, 100)
        while (take_merged := store.merge_ids()) is not None:
            take_merged()
        if turn:  # before, it knows of nothing that it could trim
            with pytest.raises(DeposedError):
                late.trim(turn * 50 + 50, 100)
    again = store.append(*ids_and_contents(orders(0, 600)))
    assert list(again.positions) == list(range(1, 601))
    assert again.run is None


def test_a_reader_follows_what_another_process_writes(engine: Engine) -> None:
    writer, reader = engine.open().claim_alone(), engine.open()
    assert reader.follow(0, 1 << 20) is None
    put(writer, 0, 30)
    assert reader.ends() == LogEnds(1, 0)  # it says what it knows
    run = reader.follow(0, 1 << 20)
    assert run is not None
    assert (run.first_position, run.last_position) == (1, 30)
    assert reader.ends() == LogEnds(1, 30)
    assert reader.follow(30, 1 << 20) is None
    put(writer, 30, 5)
    one = reader.follow(30, 1)
    assert one is not None
    assert (one.first_position, one.last_position) == (31, 31)
    assert one.data == writer.read(31, 31, 1).data
    assert reader.find(["order-34"]) == {"order-34"}
    writer.trim(21, 100)
    with pytest.raises(NotInLogError):
        reader.follow(10, 1 << 20)
    with pytest.raises(NotInLogError):
        reader.follow(99, 1 << 20)
    assert reader.ends() == LogEnds(21, 35)
    assert reader.find(["order-3", "order-40"]) == {"order-3"}
    assert writer.fence() == Fence(1, "", 1)


def test_a_reader_sees_imports_and_rules_and_an_adoption(engine: Engine) -> None:
    writer, reader = engine.open().claim_alone(), engine.open()
    writer.append(*ids_and_contents([order(1), order(2)]), [1])
    status = pusher_pb2.ImportStatus(state=pusher_pb2.IMPORT_STATE_DONE)
    status.manifest.import_id = 3
    writer.save_import(StoredImport(status, taken=True))
    writer.adopt("another", [writer.log_id], "as a test")
    assert [stored.status.manifest.import_id for stored in reader.imports()] == [3]
    assert [position for position, _ in reader.rule_records()] == [2]
    reader.follow(0, 1)
    assert reader.log_id == "another"
