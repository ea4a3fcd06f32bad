"""The rollout core, one story a test."""

from __future__ import annotations

import pytest

from services.pusher.imports.events import (
    Announce,
    CancelLoad,
    HostsKnown,
    ImportAdded,
    ImportPlace,
    Load,
    LoadDone,
    LoadFailed,
    LoadProgress,
    LoadRefused,
    NodeDown,
    NodeUp,
    PrimarySeen,
    Recorded,
    RecordPlace,
    RecordTaken,
    RolloutAction,
)
from services.pusher.imports.rollout import KnownImport, Rollout, RolloutBrokenError, RolloutSettings
from services.shared.cores import Tick

A, B, C = "a:1", "b:1", "c:1"


def cluster(*nodes: str, primary: str | None = None) -> Rollout:
    """A rollout with these nodes connected, none of them with an import."""
    rollout = Rollout(RolloutSettings(), ())
    rollout.handle(HostsKnown(nodes), 0.0)
    rollout.handle(PrimarySeen(primary), 0.0)
    for node in nodes:
        rollout.handle(NodeUp(node, 0), 0.0)
    return rollout


def load_of(actions: list[RolloutAction]) -> Load | None:
    loads = [action for action in actions if isinstance(action, Load)]
    assert len(loads) <= 1
    return loads[0] if loads else None


def the_load(actions: list[RolloutAction]) -> Load:
    load = load_of(actions)
    assert load is not None
    return load


def take(rollout: Rollout, load: Load, now: float = 0.0, carried: tuple[int, ...] = ()) -> list[RolloutAction]:
    """Lets a node take an import; records it where that is asked for. Returns what comes after."""
    actions = rollout.handle(LoadDone(load.node, load.attempt, carried), now)
    rollout.validate()
    for action in actions:
        if isinstance(action, RecordTaken):
            assert action.carried_positions == carried
            assert load_of(actions) is None  # no other node begins before it is on disk
            actions = rollout.handle(Recorded(action.import_id), now)
    return actions


def test_passive_first_primary_last_one_at_a_time() -> None:
    rollout = cluster(A, B, C, primary=A)
    first = the_load(rollout.handle(ImportAdded(1), 0.0))
    assert first == Load(B, 1, 1, ())
    actions = take(rollout, first)
    assert Announce(1) in actions
    second = the_load(actions)
    assert second == Load(C, 1, 2, (B,))
    third = the_load(take(rollout, second))
    assert third == Load(A, 1, 3, (B, C))
    assert RecordPlace(1, ImportPlace.DONE, "") in take(rollout, third)


def test_an_import_is_not_done_while_a_node_still_loads_it() -> None:
    rollout = cluster(A, B)
    second = the_load(take(rollout, the_load(rollout.handle(ImportAdded(1), 0.0))))
    assert rollout.handle(NodeUp(B, 1), 0.0) == []  # a peer's snapshot was faster
    assert RecordPlace(1, ImportPlace.DONE, "") in take(rollout, second)


def test_a_node_that_came_back_without_the_import_is_asked_again_whatever_its_old_load_says() -> None:
    rollout = cluster(A, B)
    second = the_load(take(rollout, the_load(rollout.handle(ImportAdded(1), 0.0))))
    rollout.handle(NodeDown(B), 0.0)
    rollout.handle(NodeUp(B, 0), 0.0)  # it died after it had taken the import, and its snapshot is older
    assert the_load(take(rollout, second)).node == B


def test_a_bad_file_stops_at_the_first_node() -> None:
    rollout = cluster(A, B)
    load = the_load(rollout.handle(ImportAdded(1), 0.0))
    actions = rollout.handle(LoadRefused(A, load.attempt, "line 3: unknown sponsor"), 0.0)
    assert actions == [RecordPlace(1, ImportPlace.REFUSED, "line 3: unknown sponsor")]
    assert rollout.handle(Tick(), 1000.0) == []
    assert rollout.in_force == 0


def test_the_primary_waits_for_another_canary_but_not_for_good() -> None:
    rollout = cluster(A, B, primary=A)
    rollout.handle(NodeDown(B), 0.0)
    assert load_of(rollout.handle(ImportAdded(1), 0.0)) is None
    assert load_of(rollout.handle(Tick(), 9.0)) is None
    assert load_of(rollout.handle(Tick(), 10.0)) == Load(A, 1, 1, ())


def test_a_lone_node_takes_it_at_once_primary_or_not() -> None:
    rollout = cluster(A, primary=A)
    assert load_of(rollout.handle(ImportAdded(1), 0.0)) == Load(A, 1, 1, ())


def test_a_node_that_comes_back_later_gets_it() -> None:
    rollout = cluster(A, B)
    rollout.handle(NodeDown(B), 0.0)
    load = the_load(rollout.handle(ImportAdded(1), 0.0))
    assert RecordPlace(1, ImportPlace.DONE, "") in take(rollout, load)
    assert load_of(rollout.handle(NodeUp(B, 0), 50.0)) == Load(B, 1, 2, (A,))


def test_a_failed_node_does_not_hold_up_the_others() -> None:
    rollout = cluster(A, B, C)
    load = the_load(rollout.handle(ImportAdded(1), 0.0))
    assert load.node == A
    load = the_load(rollout.handle(LoadFailed(A, load.attempt, "died", True), 0.0))
    assert load == Load(B, 1, 2, ())
    load = the_load(take(rollout, load))
    assert load == Load(C, 1, 3, (B,))
    assert load_of(take(rollout, load)) is None
    assert load_of(rollout.handle(Tick(), 1.0)) == Load(A, 1, 4, (B, C))


def test_a_file_that_nodes_die_of_is_refused_before_it_has_killed_them_all() -> None:
    rollout = cluster(A, B, C, primary=C)
    load = load_of(rollout.handle(ImportAdded(1), 0.0))
    now, killed = 0.0, []
    while load is not None:
        killed.append(load.node)
        actions = rollout.handle(LoadFailed(load.node, load.attempt, "died", True), now)
        now += 1.0
        load = load_of(actions) or load_of(rollout.handle(Tick(), now))
    assert killed == [A, B, A]
    assert rollout.imports[1].place is ImportPlace.REFUSED
    assert "3 loads died of it" in rollout.imports[1].reason


def test_nodes_that_cannot_be_reached_do_not_count_against_the_file() -> None:
    rollout = cluster(A)
    load = the_load(rollout.handle(ImportAdded(1), 0.0))
    for now in range(0, 1000, 100):
        rollout.handle(LoadFailed(A, load.attempt, "unreachable", False), float(now))
        load = the_load(rollout.handle(Tick(), now + 99.0))
    assert rollout.imports[1].place is ImportPlace.ROLLING_OUT


def test_a_newer_import_takes_the_place_of_a_waiting_one() -> None:
    rollout = Rollout(RolloutSettings(), ())
    rollout.handle(HostsKnown((A,)), 0.0)
    rollout.handle(ImportAdded(1), 0.0)
    assert rollout.handle(ImportAdded(2), 0.0) == [RecordPlace(1, ImportPlace.SUPERSEDED, "import 2 is newer")]
    assert load_of(rollout.handle(NodeUp(A, 0), 0.0)) == Load(A, 2, 1, ())


def test_a_newer_import_waits_for_the_load_under_way() -> None:
    rollout = cluster(A, B)
    load = the_load(rollout.handle(ImportAdded(1), 0.0))
    assert load_of(rollout.handle(ImportAdded(2), 0.0)) is None
    actions = take(rollout, load)
    assert Announce(1) in actions
    assert load_of(actions) == Load(A, 2, 2, ())
    rollout.validate()


def test_the_import_in_force_spreads_when_the_newer_one_was_bad() -> None:
    rollout = cluster(A, B)
    load = the_load(rollout.handle(ImportAdded(1), 0.0))
    rollout.handle(ImportAdded(2), 0.0)
    load = the_load(take(rollout, load))
    assert load == Load(A, 2, 2, ())
    assert load_of(rollout.handle(LoadRefused(A, 2, "bad"), 0.0)) == Load(B, 1, 3, (A,))


def test_a_node_that_took_it_before_it_was_recorded_is_asked_again_first() -> None:
    rollout = Rollout(RolloutSettings(), (KnownImport(1, ImportPlace.ROLLING_OUT, False),))
    rollout.handle(HostsKnown((A, B)), 0.0)
    load = the_load(rollout.handle(NodeUp(B, 1), 0.0))
    assert (load.node, load.import_id) == (B, 1)
    assert load_of(take(rollout, load, carried=(7, 9))) is None
    assert load_of(rollout.handle(NodeUp(A, 0), 0.0)) == Load(A, 1, 2, (B,))


def test_an_import_refused_in_error_goes_on_when_a_node_turns_out_to_serve_it() -> None:
    rollout = Rollout(RolloutSettings(), (KnownImport(1, ImportPlace.REFUSED, False),))
    rollout.handle(HostsKnown((A,)), 0.0)
    actions = rollout.handle(NodeUp(A, 1), 0.0)
    assert actions[0] == RecordPlace(1, ImportPlace.ROLLING_OUT, "a:1 begins")
    assert RecordPlace(1, ImportPlace.DONE, "") in take(rollout, the_load(actions))


def test_a_load_without_a_sign_of_life_is_given_up() -> None:
    rollout = cluster(A, B)
    rollout.handle(ImportAdded(1), 0.0)
    rollout.handle(LoadProgress(A, 1), 100.0)
    assert rollout.handle(Tick(), 150.0) == []
    actions = rollout.handle(Tick(), 220.0)
    assert actions[0] == CancelLoad(A, 1, 1)
    assert load_of(actions) == Load(B, 1, 2, ())
    assert rollout.handle(LoadDone(A, 1, ()), 221.0) == []  # too late: that load is another's now


def test_a_loading_node_that_leaves_the_cluster_is_let_go() -> None:
    rollout = cluster(A, B)
    rollout.handle(ImportAdded(1), 0.0)
    actions = rollout.handle(HostsKnown((B,)), 0.0)
    assert actions == [CancelLoad(A, 1, 1), Load(B, 1, 2, ())]


def test_an_id_that_does_not_grow_is_a_fault_of_the_shell() -> None:
    rollout = cluster(A)
    rollout.handle(ImportAdded(2), 0.0)
    with pytest.raises(RolloutBrokenError, match="ids only grow"):
        rollout.handle(ImportAdded(2), 0.0)


def test_a_node_with_an_older_import_takes_the_one_in_force_before_it_can_be_a_canary() -> None:
    """What is held in an older tree may be in the file already: it must not say what the new import carries."""
    rollout = cluster(A, B)
    first = the_load(rollout.handle(ImportAdded(1), 0.0))
    the_load(take(rollout, first))
    rollout.handle(NodeDown(B), 1.0)
    rollout.handle(LoadFailed(B, 2, "it died", True), 1.0)
    rollout.handle(NodeDown(A), 2.0)
    rollout.handle(NodeUp(B, 0), 3.0)
    rollout.handle(LoadFailed(B, 3, "it died again", True), 3.0)
    assert load_of(rollout.handle(ImportAdded(2), 3.5)) is None
    assert the_load(rollout.handle(Tick(), 10.0)).import_id == 1
    rollout.validate()


def test_after_a_start_an_older_import_that_was_open_beside_a_newer_one_is_superseded() -> None:
    """The pusher died after the newer one was on disk, and before the older one's end was."""
    known = (KnownImport(1, ImportPlace.ROLLING_OUT, True), KnownImport(2, ImportPlace.WAITING, False))
    rollout = Rollout(RolloutSettings(), known)
    actions = rollout.handle(HostsKnown((A, B)), 0.0)
    assert actions == [RecordPlace(1, ImportPlace.SUPERSEDED, "import 2 is newer")]
    rollout.validate()
