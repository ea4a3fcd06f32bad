"""What every log engine must do: the same tests for each."""

from __future__ import annotations

import pytest

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.pusher.log.store import LogEnds, LogStore, NotInLogError, StoredImport
from services.shared.wire.record import check_record, content_bytes, encode_frames, traced_content
from tests.pusher.updates import ids_and_contents, order, orders


def put(store: LogStore, first: int, count: int) -> None:
    store.append(*ids_and_contents(orders(first, count)))


def read_all(store: LogStore, first_position: int = 1) -> list[treenode_pb2.LogRecord]:
    """Every record from a position on."""
    records: list[treenode_pb2.LogRecord] = []
    while first_position <= store.ends().last:
        run = store.read(first_position, store.ends().last, 1 << 20)
        records += treenode_pb2.ApplyUpdatesRequest.FromString(run.data).records
        first_position = run.last_position + 1
    return records


def test_a_new_log_is_empty_and_has_an_id(store: LogStore) -> None:
    assert store.ends() == LogEnds(1, 0)
    assert store.log_id
    assert store.imports() == []


def test_a_context_stands_beside_its_record_and_changes_nothing_else(store: LogStore) -> None:
    ids, contents = ids_and_contents(orders(0, 3))
    context = bytes(range(1, 25))
    traced = store.append(ids, [contents[0], traced_content(contents[1], context), contents[2]])
    put(store, 1, 3)  # the second and third once more, without one, and another
    records = read_all(store)
    assert list(traced.positions) == [1, 2, 3]
    assert [record.trace for record in records] == [b"", context, b"", b""]
    assert [record.update for record in records[:3]] == contents
    plain = encode_frames(1, contents)
    assert sum(record.ByteSize() for record in records[:3]) == sum(len(frame) - 2 for frame in plain) + 26
    for record in records:
        check_record(record)


def test_positions_follow_each_other_from_one(store: LogStore) -> None:
    first = store.append(*ids_and_contents(orders(0, 3)))
    second = store.append(*ids_and_contents(orders(3, 2)))
    assert list(first.positions) == [1, 2, 3]
    assert list(second.positions) == [4, 5]
    assert store.ends() == LogEnds(1, 5)
    assert second.run is not None
    assert (second.run.first_position, second.run.last_position) == (4, 5)


def test_records_come_back_as_they_were_pushed_with_a_checksum_each(store: LogStore) -> None:
    updates = orders(0, 2345)
    for begin in range(0, 2345, 700):
        store.append(*ids_and_contents(updates[begin : begin + 700]))
    records = read_all(store)
    assert [record.position for record in records] == list(range(1, 2346))
    for record, update in zip(records, updates, strict=True):
        check_record(record)
        assert types_pb2.Update.FromString(record.update) == update


def test_frames_are_those_of_the_contract(store: LogStore) -> None:
    appended = store.append(*ids_and_contents([order(7)]))
    assert appended.run is not None
    assert appended.run.data == b"".join(encode_frames(1, [content_bytes(order(7))]))
    assert store.read(1, 1, 1).data == appended.run.data


def test_the_same_update_again_gets_its_first_position(store: LogStore) -> None:
    put(store, 0, 5)
    again = store.append(*ids_and_contents([order(3), order(9), order(0)]))
    assert list(again.positions) == [4, 6, 1]
    assert again.duplicates == {0, 2}
    assert store.ends().last == 6


def test_only_duplicates_store_nothing(store: LogStore) -> None:
    put(store, 0, 1200)
    again = store.append(*ids_and_contents(orders(0, 1200)))
    assert list(again.positions) == list(range(1, 1201))
    assert len(again.duplicates) == 1200
    assert again.run is None


def test_other_content_under_a_known_id_is_a_conflict(store: LogStore) -> None:
    put(store, 0, 5)
    appended = store.append(*ids_and_contents([order(8), order(2, 999), order(9)]))
    assert list(appended.positions) == [6, 0, 7]
    assert appended.conflicts == {1: 3}
    assert store.ends().last == 7


def test_an_id_twice_in_one_append(store: LogStore) -> None:
    appended = store.append(*ids_and_contents([order(1), order(1), order(1, 5), order(2)]))
    assert list(appended.positions) == [1, 1, 0, 2]
    assert appended.duplicates == {1}
    assert appended.conflicts == {2: 1}


def test_reads_are_limited_in_bytes_but_give_at_least_one_record(store: LogStore) -> None:
    put(store, 0, 50)
    one = store.read(10, 50, 1)
    assert (one.first_position, one.last_position) == (10, 10)
    few = store.read(10, 50, 3 * len(one.data) + 6)
    assert few.last_position == 12
    assert store.read(10, 12, 1 << 20).last_position == 12


@pytest.mark.parametrize("position", [0, 4, 100])
def test_a_position_that_is_not_there_is_an_error(store: LogStore, position: int) -> None:
    put(store, 0, 3)
    with pytest.raises(NotInLogError, match=str(position)):
        store.read(position, position + 10, 1000)


def test_trimming_takes_the_oldest_and_never_the_newest(store: LogStore) -> None:
    put(store, 0, 100)
    assert store.trim(11, 4) == 4
    assert store.ends() == LogEnds(5, 100)
    assert store.trim(11, 1000) == 6
    with pytest.raises(NotInLogError):
        store.read(10, 20, 1000)
    assert store.read(11, 11, 1000).first_position == 11
    assert store.trim(1000, 1000) == 89
    assert store.ends() == LogEnds(100, 100)
    assert store.trim(1000, 1000) == 0
    put(store, 500, 1)
    assert store.ends() == LogEnds(100, 101)


def test_an_id_outlives_its_record(store: LogStore) -> None:
    put(store, 0, 10)
    store.trim(6, 100)
    again = store.append(*ids_and_contents([order(4), order(5), order(3, 999), order(20), order(4, 1), order(4)]))
    assert list(again.positions) == [5, 6, 0, 11, 0, 5]
    assert again.duplicates == {0, 1, 5}
    assert again.conflicts == {2: 4, 4: 5}
    assert store.ends() == LogEnds(6, 11)


def test_ids_are_known_after_many_trims_and_merges(store: LogStore) -> None:
    for begin in range(0, 2000, 100):
        put(store, begin, 100)
        store.trim(begin + 50, 100)
        while (take_merged := store.merge_ids()) is not None:
            take_merged()
    again = store.append(*ids_and_contents(orders(0, 2000)))
    assert list(again.positions) == list(range(1, 2001))
    assert again.run is None
    assert len(again.duplicates) == 2000
    other = store.append(*ids_and_contents([order(number, 7) for number in range(2000)]))
    assert other.conflicts == {number: number + 1 for number in range(2000)}


def test_a_store_says_what_it_promises(store: LogStore) -> None:
    """One of three servers may go. PostgreSQL with standbys: `tests/pusher/log/postgresql/test_standbys.py`."""
    promise = store.durability()
    assert promise.store in ("memory", "sqlite", "postgresql", "jetstream")
    assert promise.survives_machine_loss == (promise.store == "jetstream")
    assert promise.description


def test_imports_are_kept_and_replaced(store: LogStore) -> None:
    status = pusher_pb2.ImportStatus(state=pusher_pb2.IMPORT_STATE_WAITING)
    for import_id in (2, 1):
        status.manifest.import_id = import_id
        store.save_import(StoredImport(status, taken=False))
    status.manifest.carried_positions.extend([3, 4])
    store.save_import(StoredImport(status, taken=True))
    stored = store.imports()
    assert [entry.status.manifest.import_id for entry in stored] == [1, 2]
    assert [entry.taken for entry in stored] == [True, False]
    assert stored[0].status.manifest.carried_positions == [3, 4]


def test_old_positions_are_found_by_how_long_they_have_been_there(store: LogStore) -> None:
    put(store, 0, 10)
    store.keep_time()
    assert store.position_older_than(1e6) == 0
    assert store.position_older_than(0.0) in range(1, 11)


def test_records_are_found_by_how_their_id_begins(store: LogStore) -> None:
    ids = ["a/1", "a/22", "order", "a", "a/3", "b/1"]
    store.append(ids, [f"content of {each}".encode() for each in ids])
    assert store.named("a/") == [(1, b"content of a/1"), (2, b"content of a/22"), (5, b"content of a/3")]
    assert [store.update_id_at(position) for position in range(8)] == ["", *ids, ""]
    store.trim(3, 100)
    assert [position for position, _ in store.named("a/")] == [5]
    assert store.update_id_at(2) == ""
    assert [store.update_id_at(position) for position in (2**63, 2**64 - 1)] == ["", ""]
