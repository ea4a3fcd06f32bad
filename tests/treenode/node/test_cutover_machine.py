"""The cutover against a shell that does anything in any order, and a judge who knows what every tree has to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.shared.cores import Tick
from services.treenode.node import cutover_events as cut
from services.treenode.node import search
from services.treenode.node.builds import Phase
from services.treenode.node.node import DrainAsked, NodeCore, NodeEvent
from services.treenode.node.sequence_events import (
    ApplyRecords,
    GoOver,
    LogEnd,
    LogEndHeard,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
)
from services.treenode.node.settings import CutoverSettings, NodeSettings

LAG = 3
ANSWERS = (cut.Taken, cut.Had, cut.Refused, cut.Failed)
#: These ask for exactly one word in return.
WORK = (cut.MakeTree, cut.FindCarried, cut.OfferCarried, cut.ReadLog, cut.Compare, cut.EnterGate)
LOOKING = (search.FindPeers, search.FindStored, search.AskPeer, search.FetchSnapshot)


@dataclass
class Tree:
    """What a tree holds: updates that were offered as carried, and those that were applied after `as_of`."""

    import_id: int = 0
    as_of: int = 0
    offered: list[int] = field(default_factory=list)
    applied: list[int] = field(default_factory=list)
    carried: tuple[int, ...] = ()

    @property
    def position(self) -> int:
        return self.as_of + len(self.applied)

    def apply(self, first: int, last: int) -> None:
        """Every update once, in order."""
        assert first == self.position + 1, f"{first} after {self.position}"
        self.applied += range(first, last + 1)

    def copy(self) -> Tree:
        return Tree(self.import_id, self.as_of, list(self.offered), list(self.applied), self.carried)


@dataclass
class Asked:
    """A build that the shell has to do with."""

    manifest: cut.ImportAsked | None = None
    tree: Tree | None = None
    found: tuple[int, ...] | None = None
    #: The import of the tree that it was found in.
    found_in: int | None = None
    #: Where the log ended when a new import was asked for.
    reach: int = 0
    #: What it does now; None while nothing.
    work: Any = None
    ended: bool = False


def held_at(position: int) -> tuple[int, ...]:
    """What is held at a position, in every tree alike."""
    return tuple(range(3, position + 1, 3))[-3:]


class CutoverMachine(RuleBasedStateMachine):
    """The node's core, and a shell whose every answer may be late, a failure, or about a build that is over."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.core = NodeCore(NodeSettings(cutover=CutoverSettings(pause_lag_updates=LAG)), 0.0)
        self.live = Tree()
        self.log_id, self.log_end, self.first = "log-1", 6, 1
        self.in_force = 0
        self.paused = False
        self.asked: dict[int, Asked] = {}
        self.looking: Any = None
        self.number = 0
        self.handle(PusherHello("log-1", LogEnd(1, self.log_end, 0)))

    # -- the shell

    def handle(self, event: NodeEvent) -> list[Any]:
        actions = self.core.handle(event, self.now_s)
        self.core.validate()
        for action in actions:
            self.perform(action)
        return actions

    def perform(self, action: Any) -> None:
        match action:
            case cut.PauseApplying() | cut.ResumeApplying():
                assert self.paused is isinstance(action, cut.ResumeApplying), "told twice"
                self.paused = not self.paused
            case GoOver():
                self.live = Tree()
            case cut.TakeTree():
                self.take(action)
            case cut.Stop():
                self.asked[action.build].work = None
                self.asked[action.build].ended = True
            case search.StopSearch():
                self.looking = None
        if isinstance(action, WORK):
            self.begin(action)
        elif isinstance(action, LOOKING):
            self.looking = action
        elif isinstance(action, ANSWERS):
            asked = self.asked[action.build]
            assert asked.ended, "an answer while it goes on"
            assert asked.manifest is not None or not isinstance(action, cut.Had | cut.Refused)
            del self.asked[action.build]

    def begin(self, work: Any) -> None:
        asked = self.asked[work.build]
        assert asked.work is None, f"{work} while {asked.work} goes on"
        assert not asked.ended
        asked.work = work
        at_work = [number for number, each in self.asked.items() if each.work and not self.is_at_once(number)]
        assert len(at_work) <= 1, f"builds {at_work} at once"
        if isinstance(work, cut.Compare):
            assert self.paused
            assert asked.tree is not None
            assert asked.tree.position == self.live.position, "compared at two positions"

    def is_at_once(self, number: int) -> bool:
        at_once = self.core.cutover.at_once
        return at_once is not None and at_once.number == number

    def take(self, take: cut.TakeTree) -> None:
        asked = self.asked[take.build]
        tree = asked.tree
        assert tree is not None
        assert isinstance(asked.work, cut.EnterGate), "not in the gate"
        assert self.paused or self.core.sequence.records_wait or self.is_at_once(take.build) or tree is not None
        assert tree.position >= self.live.position, "not level"
        assert (take.import_id, take.position) == (tree.import_id, tree.position)
        if asked.manifest is not None:
            self.judge_carried(asked, tree, take)
            assert take.position >= asked.reach, "new, and not read to where the log ended"
        elif take.carried is None:
            assert (tree.offered, tree.as_of) == (self.live.offered, self.live.as_of)
        asked.work, asked.ended = None, True
        carried = tree.carried if take.carried is None else take.carried
        self.live = tree.copy()
        self.live.carried = carried

    def judge_carried(self, asked: Asked, tree: Tree, take: cut.TakeTree) -> None:
        manifest = asked.manifest
        assert manifest is not None
        expected = (asked.found or ()) if manifest.carried is None else manifest.carried
        assert tree.offered == list(expected), "each carried update once"
        assert (take.carried or ()) == expected
        if manifest.carried is None and manifest.carried_of is not None:
            assert asked.found_in in (None, manifest.carried_of), "found in another import's tree"
            assert self.in_force <= manifest.carried_of, "another one came in force"

    # -- what happens to the node

    @precondition(lambda self: self.live.position < self.log_end)
    @rule(count=st.integers(1, 8))
    def updates_come(self, count: int) -> None:
        first, last = self.live.position + 1, min(self.live.position + count, self.log_end)
        for action in self.handle(RecordsReceived(range(first, last + 1))):
            if isinstance(action, ApplyRecords):
                assert not self.paused, "an update while updates are paused"
                self.live.apply(first, last)
                self.handle(RecordsApplied(last))

    @rule(count=st.integers(0, 9))
    def the_log_goes_on(self, count: int) -> None:
        self.log_end += count
        self.handle(LogEndHeard(LogEnd(self.first, self.log_end, self.in_force)))

    @rule(share=st.floats(0, 1))
    def the_log_is_trimmed(self, share: float) -> None:
        self.first = max(self.first, round(share * self.log_end))
        self.handle(LogEndHeard(LogEnd(self.first, self.log_end, self.in_force)))

    @rule()
    def an_import_comes_in_force(self) -> None:
        self.in_force += 1
        self.handle(LogEndHeard(LogEnd(self.first, self.log_end, self.in_force)))

    @rule()
    def a_pusher_comes(self) -> None:
        self.handle(PusherHello(self.log_id, LogEnd(self.first, self.log_end, self.in_force)))

    @rule()
    def another_log_comes(self) -> None:
        replaced, self.log_id = self.log_id, self.log_id + "+"
        if self.live.position or self.live.import_id:
            before = self.live.copy()
            self.handle(PusherHello(self.log_id, LogEnd(1, 5, 0)))
            assert self.live.position == before.position, "went over to a log that nobody adopted"
        self.log_end, self.first, self.in_force = 5, 1, 0
        self.handle(PusherHello(self.log_id, LogEnd(1, 5, 0), (), (replaced,), "test"))

    @rule(wait_s=st.sampled_from([0.1, 1.0, 11.0, 61.0]))
    def time_passes(self, wait_s: float) -> None:
        self.now_s += wait_s
        self.handle(Tick())

    @precondition(lambda self: self.number > 40)
    @rule()
    def the_node_ends(self) -> None:
        self.handle(DrainAsked())

    # -- builds

    @rule(newer=st.integers(-1, 2), behind=st.integers(-3, 5), known=st.booleans(), of=st.none() | st.integers(-1, 1))
    def an_import_is_asked_for(self, newer: int, behind: int, known: bool, of: int | None) -> None:
        self.number += 1
        import_id = max(1, self.live.import_id + newer)
        as_of = max(0, self.live.position - behind)
        carried = held_at(as_of) if known or import_id <= self.in_force else None
        asked_of = None if of is None else max(0, self.live.import_id + of)
        event = cut.ImportAsked(self.number, import_id, as_of, carried, carried_of=asked_of)
        self.asked[self.number] = Asked(event, reach=self.log_end if import_id > self.in_force else 0)
        self.handle(event)

    @rule()
    def a_relayout_is_asked_for(self) -> None:
        self.number += 1
        self.asked[self.number] = Asked()
        self.handle(cut.RelayoutAsked(self.number))

    @precondition(lambda self: any(each.manifest for each in self.asked.values()))
    @rule(data=st.data())
    def whoever_asked_goes_away(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([number for number, each in self.asked.items() if each.manifest]))
        self.handle(cut.Cancelled(number))
        assert self.asked.pop(number).ended

    @precondition(lambda self: any(each.work for each in self.asked.values()))
    @rule(data=st.data(), good=st.sampled_from([True, True, True, False]))
    def some_work_ends(self, data: st.DataObject, good: bool) -> None:
        number = data.draw(st.sampled_from([number for number, each in self.asked.items() if each.work]))
        asked = self.asked[number]
        work = asked.work
        if not isinstance(work, cut.EnterGate):
            asked.work = None
        match work:
            case cut.MakeTree():
                self.tree_is_made(number, asked, good)
            case cut.FindCarried():
                asked.found, asked.found_in = held_at(work.as_of_position), self.live.import_id
                self.handle(cut.CarriedFound(number, asked.found))
            case cut.OfferCarried() | cut.ReadLog() if not good:
                self.handle(cut.LogReadFailed(number, "it is cut", damaged=data.draw(st.booleans())))
            case cut.OfferCarried():
                assert asked.tree is not None
                asked.tree.offered += work.positions
                self.handle(cut.CarriedOffered(number))
            case cut.ReadLog():
                assert asked.tree is not None
                last = min(work.last_position, self.log_end) - data.draw(st.sampled_from([0, 0, 0, 1]))
                asked.tree.apply(work.first_position, last)
                self.handle(cut.LogRead(number, last))
            case cut.Compare():
                self.handle(cut.Compared(number, "" if good else "too different"))
            case cut.EnterGate():
                self.in_gate(number, asked)

    def tree_is_made(self, number: int, asked: Asked, good: bool) -> None:
        if not good:
            self.handle(cut.BuildFailed(number, "no disk"))
            return
        of = asked.manifest
        asked.tree = self.live.copy() if of is None else Tree(of.import_id, of.as_of_position)
        self.handle(cut.TreeBuilt(number, asked.tree.position))

    def in_gate(self, number: int, asked: Asked) -> None:
        turn = asked.work
        actions = self.core.handle(cut.InGate(number), self.now_s)
        self.core.validate()
        if not any(isinstance(action, cut.TakeTree) for action in actions):
            asked.work = None
        for action in actions:
            self.perform(action)
        assert asked.work is not turn

    # -- the search

    @precondition(lambda self: self.looking is not None)
    @rule(good=st.sampled_from([True, True, False]), behind=st.integers(-4, 6), older=st.sampled_from([0, 0, 1]))
    def a_peer_answers(self, good: bool, behind: int, older: int) -> None:
        looking, self.looking = self.looking, None
        number = looking.search
        if isinstance(looking, search.FindPeers | search.FindStored):
            has_store = isinstance(looking, search.FindPeers) and number % 2 == 0
            self.handle(search.PeersFound(number, ("a", "b") if good else (), has_store))
            return
        import_id = max(self.in_force, self.live.import_id) - older
        position = min(max(self.live.position - behind, 0), self.log_end)
        snapshot = search.PeerSnapshot(self.log_id, import_id, position, 1)
        if not good or import_id < 0:
            self.handle(search.PeerFailed(number, "it is cut"))
        elif isinstance(looking, search.AskPeer):
            self.handle(search.SnapshotOffered(number, snapshot))
        else:
            self.number += 1
            self.asked[self.number] = Asked(tree=Tree(import_id, position))
            self.handle(search.SnapshotRead(number, self.number, snapshot, held_at(position)))

    # -- words that nobody waits for

    @precondition(lambda self: self.number > 0)
    @rule(data=st.data())
    def a_late_word_comes(self, data: st.DataObject) -> None:
        over = [number for number in range(1, self.number + 1) if number not in self.asked]
        if not over:
            return
        number = data.draw(st.sampled_from(over))
        words: list[NodeEvent] = [
            cut.TreeBuilt(number, 1),
            cut.LogRead(number, self.log_end),
            cut.InGate(number),
            cut.Compared(number, "too different"),
            cut.CarriedOffered(number),
            cut.Cancelled(number),
        ]
        before = self.core.cutover.builds
        self.handle(data.draw(st.sampled_from(words)))
        assert self.core.cutover.builds == before

    @precondition(lambda self: self.core.cutover.search.number > 1)
    @rule(data=st.data())
    def a_late_word_of_a_search_comes(self, data: st.DataObject) -> None:
        search_before = self.core.cutover.search
        number = data.draw(st.integers(1, search_before.number - 1))
        snapshot = search.PeerSnapshot(self.log_id, self.live.import_id + 1, self.log_end, 1)
        before = (search_before.stage, search_before.peer, self.core.cutover.builds)
        word = data.draw(st.sampled_from(["peers", "offered", "failed", "read"]))
        if word == "peers":
            self.handle(search.PeersFound(number, ("late",)))
        elif word == "offered":
            self.handle(search.SnapshotOffered(number, snapshot))
        elif word == "failed":
            self.handle(search.PeerFailed(number, "late"))
        else:
            self.number += 1
            self.asked[self.number] = Asked(tree=Tree(snapshot.import_id, snapshot.position))
            self.handle(search.SnapshotRead(number, self.number, snapshot))
            assert self.number not in self.asked, "it is answered, and comes to nothing"
        assert (search_before.stage, search_before.peer, self.core.cutover.builds) == before

    # -- what must hold

    @invariant()
    def the_core_knows_where_the_tree_stands(self) -> None:
        assert (self.core.sequence.import_id, self.core.sequence.position) == (self.live.import_id, self.live.position)

    @invariant()
    def the_live_tree_is_whole(self) -> None:
        live = self.live
        assert live.applied == list(range(live.as_of + 1, live.position + 1))

    @invariant()
    def updates_are_never_left_paused(self) -> None:
        """Paused, some work goes on that ends it; whatever ends the work, ends the pause."""
        assert self.paused == self.core.cutover.paused
        if self.paused:
            turn = self.core.cutover.turn
            assert turn is not None
            assert self.asked[turn.number].work is not None

    @invariant()
    def whoever_asked_is_waited_for(self) -> None:
        """Every build that has not ended does something, waits for its turn, or has a deadline."""
        builds = {build.number: build for build in self.core.cutover.builds}
        assert set(builds) == set(self.asked)
        for number, build in builds.items():
            assert build.phase is Phase.ASKED or build.until_s is not None or self.asked[number].work is not None

    @invariant()
    def a_base_is_looked_for(self) -> None:
        core = self.core.cutover
        if self.core.sequence.base_wanted is None or not core.search.is_under_way:
            return
        if core.search.rests_until_s is None and core.search.stage is not search.Stage.HANDED_OVER:
            assert self.looking is not None


CutoverMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestCutover = CutoverMachine.TestCase
