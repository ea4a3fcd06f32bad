"""Every state with every event: the table's transitions happen, all others raise and tell the story."""

import itertools

import pytest

from services.treenode.node.lifecycle import (
    READY_STATES,
    STORY_STEPS_MAX,
    TRANSITIONS,
    EndWatches,
    Happened,
    IllegalTransitionError,
    LifeCycle,
    LifeEvent,
    NodeState,
    SetHealth,
    StateChanged,
)

#: The shortest way from the start to each state.
WAYS: dict[NodeState, list[LifeEvent]] = {
    NodeState.JOINING: [],
    NodeState.LOADING: [LifeEvent.LOAD_BEGUN],
    NodeState.CATCHING_UP: [LifeEvent.TREE_STANDS],
    NodeState.PASSIVE: [LifeEvent.TREE_STANDS, LifeEvent.CAUGHT_UP],
    NodeState.PRIMARY: [LifeEvent.TREE_STANDS, LifeEvent.CUT_OFF, LifeEvent.PROMOTED],
    NodeState.DRAINING: [LifeEvent.DRAIN_ASKED],
}


def brought_to(state: NodeState) -> LifeCycle:
    life = LifeCycle()
    for event in WAYS[state]:
        life.handle(Happened(event, "on the way"))
        life.validate()
    assert life.state is state
    return life


@pytest.mark.parametrize(("state", "event"), list(itertools.product(NodeState, LifeEvent)))
def test_every_state_with_every_event(state: NodeState, event: LifeEvent) -> None:
    life = brought_to(state)
    after = TRANSITIONS.get((state, event))
    if after is None:
        with pytest.raises(IllegalTransitionError) as raised:
            life.handle(Happened(event, "by the test"))
        assert state.name in str(raised.value)
        assert event.name in str(raised.value)
        for step in WAYS[state]:
            assert step.name in str(raised.value)
        assert life.state is state
    else:
        actions = life.handle(Happened(event, "by the test"))
        assert life.state is after
        changed = [action for action in actions if isinstance(action, StateChanged)]
        assert changed == ([StateChanged(state, after, "by the test")] if after is not state else [])
    life.validate()


@pytest.mark.parametrize(("state", "event"), sorted(TRANSITIONS, key=str))
def test_health_is_told_exactly_when_it_changes(state: NodeState, event: LifeEvent) -> None:
    life = brought_to(state)
    actions = life.handle(Happened(event))
    health_before = (state in READY_STATES, state is NodeState.PRIMARY)
    health_after = (life.state in READY_STATES, life.state is NodeState.PRIMARY)
    told = [(action.ready, action.primary) for action in actions if isinstance(action, SetHealth)]
    assert told == ([health_after] if health_after != health_before else [])


@pytest.mark.parametrize("event", [LifeEvent.DEMOTED, LifeEvent.DRAIN_ASKED, LifeEvent.SET_ASIDE])
def test_a_primary_that_steps_back_tells_health_before_it_ends_watches(event: LifeEvent) -> None:
    kinds = [type(action) for action in brought_to(NodeState.PRIMARY).handle(Happened(event))]
    assert kinds.index(SetHealth) < kinds.index(EndWatches)


def test_promotion_ends_no_watches() -> None:
    actions = brought_to(NodeState.PASSIVE).handle(Happened(LifeEvent.PROMOTED))
    assert SetHealth(ready=True, primary=True) in actions
    assert not any(isinstance(action, EndWatches) for action in actions)


def test_nothing_leads_out_of_draining() -> None:
    assert {after for (state, _), after in TRANSITIONS.items() if state is NodeState.DRAINING} == {NodeState.DRAINING}


def test_the_story_is_bounded() -> None:
    life = brought_to(NodeState.PASSIVE)
    for _ in range(STORY_STEPS_MAX):
        life.handle(Happened(LifeEvent.PROMOTED))
        life.handle(Happened(LifeEvent.DEMOTED))
    assert len(life.story) == STORY_STEPS_MAX
    life.validate()


def test_validate_finds_a_state_that_the_story_does_not_lead_to() -> None:
    life = brought_to(NodeState.PASSIVE)
    life.state = NodeState.PRIMARY
    with pytest.raises(AssertionError, match="not where the story ends"):
        life.validate()


@pytest.mark.parametrize("state", NodeState)
def test_a_tree_stands_in_the_states_that_have_one_and_a_node_that_ends_gets_none(state: NodeState) -> None:
    life = brought_to(state)
    stands = state not in (NodeState.JOINING, NodeState.LOADING, NodeState.DRAINING)
    assert life.stands is stands
    life.handle(Happened(LifeEvent.DRAIN_ASKED))
    assert life.stands is stands
    life.validate()
