"""A message of updates: what of it is for the log, and what is not."""

from __future__ import annotations

import pytest

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.admission.acks import AckRange
from services.pusher.admission.batch import MESSAGE_UPDATES_MAX, Batch, Malformed
from services.pusher.admission.messages import batch_of
from services.shared.domain.limits import UPDATE_BYTES_MAX
from services.shared.rules import rules_of
from services.shared.wire.record import content_bytes
from tests.pusher.updates import order


def message(updates: list[types_pb2.Update], ack_level: int = 0) -> pusher_pb2.PushUpdatesRequest:
    level = pusher_pb2.AckLevel.ValueType(ack_level)
    return pusher_pb2.PushUpdatesRequest(updates=updates, ack_level=level)


def checked(request: pusher_pb2.PushUpdatesRequest) -> Batch[bytes]:
    """The message as it is under some rules."""
    return batch_of(request, rules_of(["PV", "CV"], ["2026-11", "2026-10"]))


def of_size(size_bytes: int) -> types_pb2.Update:
    """A well-formed update that is encoded in so many bytes."""
    update = types_pb2.Update(update_id="long", member_changed=types_pb2.MemberChanged(member_id="1"))
    number = 0
    while (lacks := size_bytes - len(content_bytes(update))) > 100:
        update.member_changed.columns[f"c{number}"] = "x" * min(200, max(1, lacks - 60))
        number += 1
    for length in range(1, 200):
        update.member_changed.columns["last"] = "x" * length
        if len(content_bytes(update)) == size_bytes:
            return update
    raise AssertionError(f"no update has {size_bytes} bytes")


def test_well_formed_updates_go_to_the_log_and_the_others_have_their_place() -> None:
    first, second = order(1), order(2)
    batch = checked(message([first, types_pb2.Update(update_id="nothing"), second]))
    assert (batch.updates, batch.update_ids) == (3, [first.update_id, second.update_id])
    assert batch.contents == [content_bytes(first), content_bytes(second)]
    assert batch.size_bytes == sum(map(len, batch.contents))
    ((index, malformed),) = batch.malformed.items()
    assert (index, malformed.update_id) == (1, "nothing")
    assert malformed.problem


@pytest.mark.parametrize("level", [4, 9, -1])
def test_a_level_that_there_is_not_is_refused_by_name(level: int) -> None:
    batch = checked(message([order(1), types_pb2.Update(update_id="nothing")], level))
    assert (batch.update_ids, batch.contents) == ([], [])
    assert [each.update_id for each in batch.malformed.values()] == [order(1).update_id, "nothing"]
    assert {each.problem for each in batch.malformed.values()} == {
        f"ack_level {level} is none: use one of ACK_LEVEL_DURABLE, ACK_LEVEL_ONE_NODE, ACK_LEVEL_ALL_NODES"
    }


@pytest.mark.parametrize(
    ("level", "ack_range"),
    [
        (pusher_pb2.ACK_LEVEL_UNSPECIFIED, None),
        (pusher_pb2.ACK_LEVEL_DURABLE, None),
        (pusher_pb2.ACK_LEVEL_ONE_NODE, AckRange.ONE_NODE),
        (pusher_pb2.ACK_LEVEL_ALL_NODES, AckRange.ALL_NODES),
    ],
)
def test_how_many_nodes_are_asked_for(level: int, ack_range: AckRange | None) -> None:
    assert checked(message([order(1)], level)).ack_range is ack_range


def test_an_update_may_have_just_so_many_bytes() -> None:
    batch = checked(message([of_size(UPDATE_BYTES_MAX), of_size(UPDATE_BYTES_MAX + 1)]))
    assert batch.size_bytes == UPDATE_BYTES_MAX
    problem = f"the update has {UPDATE_BYTES_MAX + 1} bytes, {UPDATE_BYTES_MAX} fit"
    assert batch.malformed == {1: Malformed("long", problem)}


def test_a_message_with_too_many_updates_is_not_looked_at() -> None:
    full = checked(message([order(number) for number in range(MESSAGE_UPDATES_MAX)]))
    assert len(full.update_ids) == full.updates == MESSAGE_UPDATES_MAX
    flood = checked(message([order(number) for number in range(MESSAGE_UPDATES_MAX + 1)]))
    assert (flood.updates, flood.update_ids, flood.malformed) == (MESSAGE_UPDATES_MAX + 1, [], {})


def test_what_it_costs() -> None:
    assert checked(message([])).cost == 1
    assert checked(message([order(1), order(2)])).cost == 2
    assert checked(message([of_size(2_000)])).cost == 3
