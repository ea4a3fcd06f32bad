"""Refusals in bounded number, with nothing left out of the counts."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from services.shared.security.audit.floods import PEERS_MAX, SUMMED_UP_MAX, FloodControl
from services.shared.security.audit.records import Entry, Kind

WINDOW_S = 60.0


def refusal(peer: int, port: int = 1, principal: str = "") -> Entry:
    return Entry(Kind.REFUSED, 0.0, "/x", peer=f"ipv4:10.0.0.{peer}:{port}", principal=principal, authorized=False)


def counted(entries: list[Entry]) -> int:
    return sum(entry.details.get("refusals", 1) for entry in entries)


def test_the_first_ones_are_told_one_by_one_the_others_by_their_number() -> None:
    floods = FloodControl(3, WINDOW_S)
    told = [each for port in range(10) for each in floods.take(refusal(1, port), 0.0)]
    assert [each.kind for each in told] == [Kind.REFUSED] * 3
    assert floods.take(refusal(2), 1.0) == [refusal(2)]
    assert floods.deadline_s == WINDOW_S
    assert not floods.tick(WINDOW_S - 1)
    (summed_up,) = floods.tick(WINDOW_S)
    assert (summed_up.kind, summed_up.details["refusals"]) == (Kind.REFUSED_MORE, 7)
    assert summed_up.peer.startswith("ipv4:10.0.0.1:")
    assert floods.deadline_s is None
    # Whoever comes next begins a window of its own.
    assert floods.take(refusal(1), WINDOW_S + 1) == [refusal(1)]


def test_a_name_is_one_peer_wherever_it_comes_from() -> None:
    floods = FloodControl(1, WINDOW_S)
    assert len(floods.take(refusal(1, principal="spiffe://a/reporter/r"), 0.0)) == 1
    assert not floods.take(refusal(2, principal="spiffe://a/reporter/r"), 0.0)


@given(st.lists(st.tuples(st.integers(0, 3_000), st.floats(0, 20)), max_size=300), st.integers(1, 5))
def test_nothing_is_left_out_and_a_window_is_bounded(story: list[tuple[int, float]], in_full: int) -> None:
    floods, now_s, told, window = FloodControl(in_full, WINDOW_S), 0.0, [], 0
    for peer, pause_s in story:
        now_s += pause_s
        due = floods.tick(now_s)
        if due or floods.deadline_s is None:
            assert window <= in_full * 10
            window = 0
        assert len(due) <= SUMMED_UP_MAX + 1
        more = floods.take(refusal(peer), now_s)
        window += len(more)
        told += due + more
    assert counted(told + floods.flush()) == len(story)


def test_more_peers_than_are_known_are_counted_together() -> None:
    floods = FloodControl(1, WINDOW_S)
    told = [each for peer in range(PEERS_MAX + 50) for each in floods.take(refusal(peer), 0.0)]
    assert len(told) == 10
    due = floods.tick(WINDOW_S)
    assert len(due) == SUMMED_UP_MAX + 1
    assert counted(told + due) == PEERS_MAX + 50
    assert due[-1].reason == "of further peers"
