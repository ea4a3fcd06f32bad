"""The fan-out core, one story a test: what goes in, what comes out, in order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.pusher.fanout.events import (
    Appended,
    Applied,
    Connect,
    EndStream,
    LogEndChanged,
    NodeAppeared,
    NodeChanged,
    NodesKnown,
    ReadFailed,
    ReplicationAction,
    Send,
    SendLogEnd,
    Sent,
    Stood,
    StreamEnded,
    Trimmed,
    Writable,
)
from services.pusher.fanout.progress import NodeStream, ReplicationBrokenError, ReplicationSettings
from services.pusher.fanout.replication import Replication
from services.shared.cores import Tick

NODE = "ftsp01:50201"
SETTINGS = ReplicationSettings(batch_updates_max=10, window_updates=25, window_bytes=1000, heartbeat_s=1.0)


def core(position: int = 0, first_position: int = 1, settings: ReplicationSettings = SETTINGS) -> Replication:
    return Replication(settings, log_id="log", first_position=first_position, position=position, jitter=lambda: 1.0)


def stand(replication: Replication, position: int, *, log_id: str = "log", now: float = 0.0) -> list[ReplicationAction]:
    """Connects the node and lets it say where it stands."""
    if NODE not in replication.nodes:
        replication.handle(NodesKnown((NODE,)), now)
    return replication.handle(Stood(NODE, replication.nodes[NODE].session, log_id, position, 0), now)


def finish(replication: Replication, send: Send, *, size_bytes: int = 10, now: float = 0.0) -> list[ReplicationAction]:
    """Performs a send whole."""
    replication.handle(Sent(NODE, send.session, send.last_position, size_bytes), now)
    return replication.handle(Writable(NODE, send.session), now)


def only_send(actions: list[ReplicationAction]) -> Send:
    (send,) = [action for action in actions if isinstance(action, Send)]
    return send


def sends(actions: list[ReplicationAction]) -> list[tuple[int, int]]:
    return [(action.first_position, action.last_position) for action in actions if isinstance(action, Send)]


def test_a_new_node_is_connected_and_fed_from_where_it_stands() -> None:
    replication = core(position=5)
    assert replication.handle(NodesKnown((NODE,)), 0.0) == [Connect(NODE, 1)]
    assert sends(stand(replication, 2)) == [(3, 5)]
    replication.validate()


def test_batches_follow_each_other_until_the_window_is_full() -> None:
    replication = core(position=100)
    seen, actions = [], stand(replication, 0)
    while sends(actions):
        seen += sends(actions)
        actions = finish(replication, only_send(actions))
        replication.validate()
    assert seen == [(1, 10), (11, 20), (21, 25)]
    assert sends(replication.handle(Applied(NODE, 1, 12), 0.1)) == [(26, 35)]


def test_a_window_in_bytes_holds_back_large_batches() -> None:
    replication = core(position=100)
    send = only_send(stand(replication, 0))
    assert finish(replication, send, size_bytes=1000) == []
    assert sends(replication.handle(Applied(NODE, 1, 10), 0.1)) == [(11, 20)]


def test_a_few_updates_wait_for_the_answer_to_those_before_and_then_go_together() -> None:
    replication = core(position=1)
    assert finish(replication, only_send(stand(replication, 0))) == []
    for position in (2, 3, 4):
        assert replication.handle(Appended(position), 0.1) == []
    replication.validate()
    assert sends(replication.handle(Applied(NODE, 1, 1), 0.2)) == [(2, 4)]


def test_a_whole_batch_waits_for_no_answer() -> None:
    replication = core(position=1)
    finish(replication, only_send(stand(replication, 0)))
    assert sends(replication.handle(Appended(11), 0.1)) == [(2, 11)]


def test_nothing_more_is_sent_until_the_transport_took_the_last_batch() -> None:
    replication = core(position=1, settings=replace(SETTINGS, small_batches_max=9))
    send = only_send(stand(replication, 0))
    assert replication.handle(Appended(2), 0.0) == []
    replication.handle(Sent(NODE, 1, send.last_position, 10), 0.0)
    assert replication.handle(Appended(3), 0.0) == []
    assert sends(replication.handle(Writable(NODE, 1), 0.0)) == [(2, 3)]


def test_a_confirmation_may_come_before_the_transport_is_free_again() -> None:
    replication = core(position=1)
    stand(replication, 0)
    replication.handle(Sent(NODE, 1, 1, 10), 0.0)
    assert replication.handle(Applied(NODE, 1, 1), 0.0) == [NodeChanged(NODE)]
    assert replication.nodes[NODE].in_step
    replication.validate()


def test_a_node_behind_the_log_hears_heartbeats_only_until_it_stands_elsewhere() -> None:
    replication = core(position=50, first_position=20)
    assert sends(stand(replication, 5)) == []
    assert replication.nodes[NODE].state is NodeStream.BEHIND_LOG
    assert replication.handle(Tick(), 1.0) == [SendLogEnd(NODE, 1)]
    replication.handle(Writable(NODE, 1), 1.0)
    assert sends(stand(replication, 30, now=1.1)) == [(31, 40)]


def test_a_node_of_another_log_is_sent_nothing_until_it_is_empty() -> None:
    replication = core(position=50)
    assert sends(stand(replication, 7, log_id="elsewhere")) == []
    assert replication.nodes[NODE].state is NodeStream.OTHER_LOG
    assert sends(stand(replication, 0, log_id="elsewhere")) == [(1, 10)]


def test_a_node_ahead_of_the_log_stays_out_while_the_log_grows_past_it() -> None:
    replication = core(position=50)
    stand(replication, 52)
    assert replication.nodes[NODE].state is NodeStream.AHEAD_OF_LOG
    assert replication.handle(Appended(60), 0.0) == []
    assert sends(stand(replication, 52)) == []
    assert "lost" in replication.nodes[NODE].note
    assert sends(stand(replication, 50)) == [(51, 60)]


def test_a_node_with_another_record_than_the_log_is_sent_nothing() -> None:
    replication = core(position=60)
    replication.handle(NodesKnown((NODE,)), 0.0)
    session = replication.nodes[NODE].session
    assert sends(replication.handle(Stood(NODE, session, "log", 52, 0, differs_at=52), 0.0)) == []
    assert replication.nodes[NODE].state is NodeStream.AHEAD_OF_LOG
    assert "another update 52" in replication.nodes[NODE].note
    assert replication.handle(Appended(70), 0.0) == []
    # Not even heartbeats: a node that starts again would wait for what never comes.
    assert replication.handle(Tick(), 5.0) == []
    assert sends(stand(replication, 0)) == [(1, 10)]


def test_trimming_past_a_slow_node_sends_it_for_a_snapshot() -> None:
    replication = core(position=100)
    send = only_send(stand(replication, 0))
    replication.handle(Trimmed(50), 0.0)
    assert finish(replication, send) == [NodeChanged(NODE)]
    assert replication.nodes[NODE].state is NodeStream.BEHIND_LOG
    replication.validate()


def test_a_lost_stream_comes_back_fast_and_then_slower() -> None:
    replication = core(settings=replace(SETTINGS, backoff_initial_s=0.05, backoff_max_s=0.2))
    replication.handle(NodesKnown((NODE,)), 0.0)
    ticks, waits_ticks = 0, []
    for _ in range(5):
        replication.handle(StreamEnded(NODE, replication.nodes[NODE].session, "refused"), ticks / 100)
        began = ticks
        while not replication.handle(Tick(), ticks / 100):
            ticks += 1
        waits_ticks.append(ticks - began)
    assert waits_ticks == pytest.approx([5, 10, 20, 20, 20], abs=1)


def test_a_node_that_the_coordinator_sees_is_tried_at_once() -> None:
    replication = core()
    replication.handle(NodesKnown((NODE,)), 0.0)
    replication.handle(StreamEnded(NODE, 1, "refused"), 0.0)
    assert replication.handle(NodeAppeared(NODE), 0.001) == [Connect(NODE, 2)]


def test_events_of_an_older_session_change_nothing() -> None:
    replication = core(position=5)
    stand(replication, 5)
    replication.handle(StreamEnded(NODE, 1, "cut"), 0.0)
    replication.handle(Tick(), 1.0)
    for late in (Applied(NODE, 1, 9), Stood(NODE, 1, "log", 3, 0), StreamEnded(NODE, 1, "late"), Writable(NODE, 1)):
        assert replication.handle(late, 1.0) == []
    assert replication.nodes[NODE].state is NodeStream.CONNECTING


@pytest.mark.parametrize("answers", [False, True])
def test_a_node_that_owes_an_answer_too_long_is_let_go(answers: bool) -> None:
    replication = core(position=5, settings=replace(SETTINGS, stall_timeout_s=3.0, heartbeat_s=100.0))
    finish(replication, only_send(stand(replication, 0)))
    if answers:
        replication.handle(Applied(NODE, 1, 5), 2.0)
    ended = [action for action in replication.handle(Tick(), 3.5) if isinstance(action, EndStream)]
    assert ended == ([] if answers else [EndStream(NODE, 1, "nothing applied for 3 s")])


def test_a_node_that_never_answers_the_hello_is_let_go() -> None:
    replication = core()
    replication.handle(NodesKnown((NODE,)), 0.0)
    assert replication.handle(Tick(), 2.9) == []
    assert EndStream(NODE, 1, "no answer to the hello for 3 s") in replication.handle(Tick(), 3.0)


def test_a_confirmation_of_what_was_never_sent_ends_the_stream() -> None:
    replication = core(position=5)
    stand(replication, 5)
    replication.handle(Appended(6), 0.0)
    replication.handle(Sent(NODE, 1, 6, 10), 0.0)
    actions = replication.handle(Applied(NODE, 1, 7), 0.0)
    assert EndStream(NODE, 1, "confirmed 7, but was sent only up to 6") in actions


def test_records_that_cannot_be_read_are_tried_again_and_said() -> None:
    replication = core(position=5, settings=replace(SETTINGS, heartbeat_s=100.0))
    stand(replication, 0)
    replication.handle(ReadFailed(NODE, 1, "log record at position 3 is damaged"), 0.0)
    assert "position 3" in replication.nodes[NODE].note
    assert replication.handle(Tick(), 0.01) == []
    assert sends(replication.handle(Tick(), 1.0)) == [(1, 5)]


def test_a_damaged_record_sends_every_node_that_needs_it_for_a_snapshot() -> None:
    replication = core(position=50, settings=replace(SETTINGS, heartbeat_s=100.0))
    stand(replication, 0)
    actions = replication.handle(ReadFailed(NODE, 1, "log record at position 7 is damaged", 7), 0.0)
    assert actions == [NodeChanged(NODE), SendLogEnd(NODE, 1)]
    assert replication.nodes[NODE].state is NodeStream.BEHIND_LOG
    assert "position 7" in replication.nodes[NODE].note
    assert replication.first_position == 8
    replication.handle(Writable(NODE, 1), 0.0)
    assert sends(stand(replication, 5)) == []
    assert sends(stand(replication, 7)) == [(8, 17)]
    replication.validate()


def test_a_new_import_in_force_is_told_to_every_idle_node_at_once() -> None:
    replication = core(position=3)
    stand(replication, 3)
    assert replication.handle(LogEndChanged(1), 0.0) == [SendLogEnd(NODE, 1)]
    assert replication.handle(LogEndChanged(1), 0.0) == []  # the first one is not written yet


def test_an_empty_node_hears_heartbeats_only_once_an_import_is_in_force() -> None:
    replication = core()
    stand(replication, 0)
    replication.handle(LogEndChanged(1), 0.0)
    replication.handle(Writable(NODE, 1), 0.0)
    assert replication.nodes[NODE].state is NodeStream.NEEDS_IMPORT
    assert sends(replication.handle(Appended(3), 0.0)) == []
    assert sends(stand(replication, 2)) == [(3, 3)]
    replication.validate()


def test_what_was_on_its_way_is_sent_again_to_a_node_that_stands_anew() -> None:
    replication = core(position=8)
    finish(replication, only_send(stand(replication, 0)))
    assert sends(stand(replication, 3)) == [(4, 8)]
    replication.handle(Applied(NODE, 1, 6), 0.0)  # it had taken some of the first ones after all
    replication.handle(Sent(NODE, 1, 8, 10), 0.0)
    replication.validate()
    assert replication.nodes[NODE].next_position == 9


def test_a_node_that_leaves_the_cluster_is_forgotten() -> None:
    replication = core()
    stand(replication, 0)
    assert replication.handle(NodesKnown(()), 0.0)[0] == EndStream(NODE, 1, "the node is no longer in the cluster")
    assert not replication.nodes


def test_standing_anew_during_a_read_drops_that_send() -> None:
    replication = core(position=40)
    stand(replication, 0)
    stand(replication, 30)
    assert replication.nodes[NODE].sending is None
    assert sends(replication.handle(Writable(NODE, 1), 0.0)) == [(31, 40)]


def test_a_shell_that_sends_what_was_not_asked_is_found_out() -> None:
    replication = core(position=5)
    stand(replication, 0)
    with pytest.raises(ReplicationBrokenError, match="asked to send"):
        replication.handle(Sent(NODE, 1, 6, 10), 0.0)


def test_after_each_word_of_the_node_it_is_sent_what_follows_that() -> None:
    """A node that looked for a base dropped what it was sent, whatever was on its way when it stood anew."""
    replication = core(position=20)
    finish(replication, only_send(stand(replication, 0)))
    replication.handle(Stood(NODE, 1, "log", 8, 3), 0.2)
    assert sends(replication.handle(Writable(NODE, 1), 0.2)) == [(9, 18)]
    replication.validate()


def test_records_that_arrived_before_a_new_word_are_not_sent_again_once_they_are_confirmed() -> None:
    replication = core(position=20)
    finish(replication, only_send(stand(replication, 0)))  # 1 to 10 are on their way, 11 to 20 are asked for
    replication.handle(Stood(NODE, 1, "log", 5, 0), 0.2)
    replication.handle(Applied(NODE, 1, 10), 0.3)
    replication.validate()
    assert sends(replication.handle(Writable(NODE, 1), 0.3)) == [(11, 20)]


def test_heartbeats_do_not_keep_a_stream_whose_records_are_never_applied() -> None:
    replication = core(position=5)
    finish(replication, only_send(stand(replication, 0)))
    actions: list[ReplicationAction] = []
    for beat in range(1, 12):
        actions += replication.handle(Tick(), float(beat))
        replication.handle(Writable(NODE, 1), float(beat))
    assert [action.reason for action in actions if isinstance(action, EndStream)] == ["nothing applied for 10 s"]
