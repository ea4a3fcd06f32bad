"""The life of a tree node as one table.

A node is always in exactly one of six states:

- **joining**: it has started and has no tree to serve. It waits for a pusher to say what there is to have.
- **loading**: it has no tree to serve and reads one: its own snapshot, a peer's, or an import.
- **catching up**: a tree stands, but the log may hold updates, or a newer import, that the node has not taken yet.
  Not ready: a report from here could be older than one that a client had before.
- **passive**: ready. It serves whoever asks, and may be elected.
- **primary**: ready, and holds the lease: the VIP points to it.
- **draining**: it ends. Nothing leads out of this state but the end of the process.

The rules:

1. Ready means passive or primary, and nothing else. Only a ready node is promoted; a node that stops being ready
   stops being primary in the same step.
2. A ready node stays ready for as long as it has a tree. It does not step back for being behind, for an import that
   loads beside the live tree, for having lost its pusher, or for meeting one of another log: an old answer that says
   how old it is beats none. It loses its tree only when its state can't be trusted any more (SET_ASIDE).
3. A node that came up with a tree and hears no pusher for a while (CUT_OFF) serves what it has, but not beside a ready
   node of its log that has more: what was there to be read must not be missing a moment later. More is a newer import,
   or an update that this one lacks. The coordinator hears all nodes, and tells this one how far
   the ready ones are. Once none of them is further (its lease is over, or it drains), or nothing is heard of the
   coordinator either, rule 2's reason holds again: an old answer beats none.
   So no cluster waits for a pusher: where none is ready, the first with a tree is, whatever it has. It stays so when
   another comes with more (rule 2), and by what is on its way to a node, a report may show less than one before it
   that another node answered: a client that must not see less asks with `min_position`.
4. Health changes before streams end: a client whose watch ends asks again at once, and must not be sent here again.
5. A transition that the table does not hold is a defect of this program. It raises `IllegalTransitionError`, whose
   text tells the story that led there; nothing heals it in silence.
"""

import enum
from collections import deque
from dataclasses import dataclass

#: Steps that a story keeps, oldest dropped first.
STORY_STEPS_MAX = 40


class NodeState(enum.IntEnum):
    """Where a node is in its life; the numbers are those of `fasttree.v1.NodeState`."""

    JOINING = 1
    LOADING = 2
    CATCHING_UP = 3
    PASSIVE = 4
    PRIMARY = 5
    DRAINING = 6


class LifeEvent(enum.Enum):
    """What can happen to a node."""

    LOAD_BEGUN = "begins to load a tree"
    LOAD_FAILED = "could not load it"
    TREE_STANDS = "has a tree"
    CAUGHT_UP = "lacks nothing"
    CUT_OFF = "hears no pusher"
    PROMOTED = "is made primary"
    DEMOTED = "is no longer primary"
    SET_ASIDE = "sets its state aside"
    DRAIN_ASKED = "is asked to end"


_S = NodeState
_E = LifeEvent

#: All and only the legal transitions.
TRANSITIONS: dict[tuple[NodeState, LifeEvent], NodeState] = {
    (_S.JOINING, _E.LOAD_BEGUN): _S.LOADING,
    (_S.JOINING, _E.TREE_STANDS): _S.CATCHING_UP,  # a cluster without an import: the empty tree is its tree
    (_S.JOINING, _E.SET_ASIDE): _S.JOINING,
    (_S.JOINING, _E.DRAIN_ASKED): _S.DRAINING,
    (_S.LOADING, _E.LOAD_FAILED): _S.JOINING,
    (_S.LOADING, _E.TREE_STANDS): _S.CATCHING_UP,
    (_S.LOADING, _E.SET_ASIDE): _S.JOINING,
    (_S.LOADING, _E.DRAIN_ASKED): _S.DRAINING,
    (_S.CATCHING_UP, _E.CAUGHT_UP): _S.PASSIVE,
    (_S.CATCHING_UP, _E.CUT_OFF): _S.PASSIVE,
    (_S.CATCHING_UP, _E.SET_ASIDE): _S.JOINING,
    (_S.CATCHING_UP, _E.DRAIN_ASKED): _S.DRAINING,
    (_S.PASSIVE, _E.PROMOTED): _S.PRIMARY,
    (_S.PASSIVE, _E.SET_ASIDE): _S.JOINING,
    (_S.PASSIVE, _E.DRAIN_ASKED): _S.DRAINING,
    (_S.PRIMARY, _E.DEMOTED): _S.PASSIVE,
    (_S.PRIMARY, _E.SET_ASIDE): _S.JOINING,
    (_S.PRIMARY, _E.DRAIN_ASKED): _S.DRAINING,
    (_S.DRAINING, _E.DRAIN_ASKED): _S.DRAINING,  # a second SIGTERM
}

READY_STATES = frozenset({NodeState.PASSIVE, NodeState.PRIMARY})
_WITHOUT_TREE = frozenset({NodeState.JOINING, NodeState.LOADING})


@dataclass(frozen=True)
class Happened:
    event: LifeEvent
    #: The occasion, for the log and the story; empty where the event says all.
    why: str = ""


@dataclass(frozen=True)
class SetHealth:
    """Tell the health services; comes before any `EndWatches` of the same step."""

    ready: bool
    primary: bool


@dataclass(frozen=True)
class EndWatches:
    """End open report watches with UNAVAILABLE, so that clients look for the node that serves now."""

    reason: str


@dataclass(frozen=True)
class StateChanged:
    """The node's state is another one; told for the log, the heartbeat and the metrics."""

    before: NodeState
    after: NodeState
    why: str


Action = SetHealth | EndWatches | StateChanged


@dataclass(frozen=True)
class Step:
    """One step of a node's story."""

    before: NodeState
    event: LifeEvent
    after: NodeState
    why: str


class IllegalTransitionError(AssertionError):
    """An event that can't happen in this state: a defect of the caller. The text tells the story."""


class LifeCycle:
    """A node's state, and how it came to it."""

    def __init__(self) -> None:
        #: Changes only through `handle`.
        self.state = NodeState.JOINING
        #: Whether a tree stands that reports may see; a node that is asked to end keeps what it had, or had not.
        self.stands = False
        #: The newest steps, oldest first; each step begins in the state that the one before it ended in.
        self.story: deque[Step] = deque(maxlen=STORY_STEPS_MAX)
        #: The newest step that `validate` has seen: those up to it don't change any more.
        self._validated: Step | None = None

    @property
    def ready(self) -> bool:
        """Whether the node serves reports (rule 1)."""
        return self.state in READY_STATES

    def handle(self, happened: Happened) -> list[Action]:
        """Takes the event and returns what is to be done, in order.

        Raises IllegalTransitionError where the table has nothing.
        """
        before, event, why = self.state, happened.event, happened.why
        after = TRANSITIONS.get((before, event))
        if after is None:
            raise IllegalTransitionError(f"a {before.name} node {event.value} ({event.name}; {why})\n{self.tell()}")
        self.story.append(Step(before, event, after, why))
        self.state = after
        if after is not NodeState.DRAINING:
            self.stands = after not in _WITHOUT_TREE
        if before is after:
            return []
        actions: list[Action] = [StateChanged(before, after, why or event.value)]
        if (before in READY_STATES) != (after in READY_STATES) or NodeState.PRIMARY in (before, after):
            actions.append(SetHealth(after in READY_STATES, after is NodeState.PRIMARY))
        if before is NodeState.PRIMARY or (before is NodeState.PASSIVE and after is not NodeState.PRIMARY):
            actions.append(EndWatches(why or event.value))
        return actions

    def tell(self) -> str:
        """The story so far, a line a step."""
        return "\n".join(
            f"{step.before.name} -{step.event.name}-> {step.after.name} ({step.why})" for step in self.story
        )

    def validate(self) -> None:
        """Raises AssertionError where the story does not lead to the state."""
        newest = self.story[-1] if self.story else None
        if (newest.after if newest else NodeState.JOINING) is not self.state:
            raise AssertionError(f"state {self.state.name} is not where the story ends\n{self.tell()}")
        if newest is self._validated:
            return
        self._validated = newest
        if self.ready and not self.stands:
            raise AssertionError(f"a {self.state.name} node without a tree\n{self.tell()}")
        previous: Step | None = None
        for step in self.story:
            if TRANSITIONS.get((step.before, step.event)) is not step.after:
                raise AssertionError(f"a step that the table does not hold\n{self.tell()}")
            if previous is not None and previous.after is not step.before:
                raise AssertionError(f"steps that do not follow each other\n{self.tell()}")
            previous = step
