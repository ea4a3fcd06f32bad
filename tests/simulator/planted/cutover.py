"""Bugs in how a node gets whole trees: imports, peers' snapshots, relayouts, and the cutover to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.treenode.node import cutover_events as cut
from services.treenode.node import search
from services.treenode.node.builds import Build, Phase
from services.treenode.node.cutover import Cutover
from services.treenode.node.sequence import SequenceCore
from tests.simulator.messages import Manifest, Record
from tests.simulator.node_loading import Build as BuildShell
from tests.simulator.node_loading import Loader
from tests.simulator.planted.planting import Planted, plant
from tests.simulator.toy_tree import ImportFile, ToyTree

_Actions = list[Any]

# ---- the file, and what is read into the new tree


def _sound_file(_self: Loader, _file: ImportFile) -> bool:
    return True


def _any_file(_self: Loader, _manifest: Manifest, _file: ImportFile) -> bool:
    return True


def _no_records(_self: Loader, _records: list[Record]) -> list[Record]:
    return []


def _replay_late(_self: Loader, build: BuildShell, records: tuple[Record, ...]) -> None:
    """The first update after the file's position is skipped."""
    tree, manifest = build.tree, build.manifest
    for position, update in records:
        if manifest is not None and tree.position == manifest.as_of_position:
            tree.position = position
        else:
            tree.apply(position, update)


def _build_again(_self: SequenceCore, _event: Any) -> _Actions:
    """Tries to build the import from the damaged log again and again."""
    return []


# ---- what an import carries


def _offered_twice(self: Cutover, build: Build, event: cut.BuildEvent, now_s: float) -> _Actions:
    """What is carried is offered once more, after a first time that went well."""
    if isinstance(event, cut.CarriedOffered) and build.phase is Phase.OFFERING and build.reading_to == 0:
        build.reading_to = 1
        return [cut.OfferCarried(build.number, build.carried or ())]
    return _STEP(self, build, event, now_s)


def _held_now(self: Cutover, now_s: float) -> _Actions:
    """What is asked is what the live tree holds where it is by now, not where the file was taken."""
    return [
        replace(action, as_of_position=self._sequence.position) if isinstance(action, cut.FindCarried) else action
        for action in _GO_ON(self, now_s)
    ]


def _held_still(self: ToyTree, as_of_position: int) -> tuple[int, ...]:
    """What was released between the file's position and now is not carried."""
    return tuple(sorted(position for position in self.held if position <= as_of_position))


def _found_anew(self: Cutover, event: Any) -> Build:
    """What the manifest says is carried is not looked at."""
    build = _ASKED(self, event)
    build.carried = None
    return build


def _always_new(_self: Cutover, _import_id: int) -> bool:
    return False


_ASKED = Cutover._asked

# ---- when


def _no_lag(_self: Cutover, _build: Build) -> int:
    return 0


def _compare_early(self: Cutover, build: Build, now_s: float) -> _Actions:
    """As soon as updates are paused, whatever is still to be read."""
    if build.to_compare and self._lag(build) > 0 and build.phase is Phase.LEVELLING:
        build.enter(Phase.COMPARING)
        return [cut.Compare(build.number)]
    return _LEVEL(self, build, now_s)


def _never_paused(_self: Cutover, actions: _Actions) -> _Actions:
    """Updates go on while the trees are compared."""
    return actions


def _left_paused(self: Cutover, actions: _Actions) -> _Actions:
    """Only a swap resumes applying."""
    if self.paused and any(isinstance(action, cut.Stop) for action in actions):
        return actions
    return _TELL_PAUSE(self, actions)


# ---- one at a time


def _two_at_once(self: Cutover, now_s: float) -> _Actions:
    """The next one begins while another has the turn, as if its waiting were over."""
    actions = _GO_ON(self, now_s)
    if self.turn is not None and self.waiting and self.waiting[0].phase is Phase.ASKED:
        self.waiting[0].enter(Phase.BUILDING)
        actions.append(cut.MakeTree(self.waiting[0].number))
    return actions


def _goes_on(self: Cutover, build: Build, event: cut.BuildEvent, now_s: float) -> _Actions:
    """A build whose caller went away is made all the same."""
    return [] if isinstance(event, cut.Cancelled) else _STEP(self, build, event, now_s)


def _anybodys_word(self: Cutover, event: Any, now_s: float) -> _Actions:
    """What comes late for a build that is over is taken for a word on the one that has the turn."""
    number = getattr(event, "build", 0)
    known = any(build.number == number for build in self.builds)
    is_word = isinstance(event, cut.TreeBuilt | cut.LogRead | cut.CarriedFound | cut.Compared | cut.InGate)
    if is_word and not known and self.turn is not None:
        event = replace(event, build=self.turn.number)
    return _TAKE_IN(self, event, now_s)


_STEP = Cutover._step
_GO_ON = Cutover._go_on
_LEVEL = Cutover._level
_LAG = Cutover._lag
_TELL_PAUSE = Cutover._tell_pause
_TAKE_IN = Cutover._take_in

# ---- peers' snapshots


def _of_any_log(snapshot: search.PeerSnapshot, sequence: SequenceCore, bytes_max: int) -> str:
    return _WHY_UNFIT(replace(snapshot, log_id=sequence.log_id), sequence, bytes_max)


def _bare_too(snapshot: search.PeerSnapshot, sequence: SequenceCore, bytes_max: int) -> str:
    return _WHY_UNFIT(replace(snapshot, bare=False), sequence, bytes_max)


def _as_of_this_log(self: Cutover, event: search.SnapshotRead, now_s: float) -> _Actions:
    snapshot = replace(event.snapshot, log_id=self._sequence.log_id)
    return _SNAPSHOT_READ(self, replace(event, snapshot=snapshot), now_s)


_SNAPSHOT_READ = Cutover._snapshot_read


def _always_at_once(self: Cutover, event: search.SnapshotRead, now_s: float) -> _Actions:
    """Whether records wait for it or not, it does not follow the log to where the node is."""
    actions = _SNAPSHOT_READ(self, event, now_s)
    if self.waiting and self.waiting[-1].number == event.build:
        self.at_once = self.waiting.pop()
        self.at_once.enter(Phase.SWAPPING)
        actions.append(cut.EnterGate(event.build))
    return actions


def _none_if_at_once(self: Cutover, build: Build) -> int:
    return 0 if build is self.at_once else _LAG(self, build)


_WHY_UNFIT = search.why_unfit

CUTOVER = (
    plant("bad-file-taken", "an import's rows are not checked", Loader, "is_sound", _sound_file),
    plant("old-file-taken", "an import file of that number is taken for the one meant", Loader, "is_wanted", _any_file),
    plant("replay-off-by-one", "the update after an import's position is lost", Loader, "replay", _replay_late),
    plant(
        "damaged-log-again",
        "an import behind a damaged record is built again and again",
        SequenceCore,
        "_give_up_building",
        _build_again,
    ),
    plant("carried-dropped", "held updates don't survive an import", Loader, "carried_records", _no_records),
    plant("carried-twice", "what an import carries is offered twice", Cutover, "_step", _offered_twice),
    plant("carried-now", "the live tree is asked what it holds now", Cutover, "_go_on", _held_now),
    plant("carried-between", "what was released since is not carried", ToyTree, "carried_positions", _held_still),
    Planted(
        "carried-anew",
        "each node finds out for itself what an import carries",
        ((Cutover, "_asked", _found_anew), (Cutover, "_in_force", _always_new)),
    ),
    plant("early-swap", "the new tree serves before it caught up", Cutover, "_lag", _no_lag),
    plant("early-comparison", "trees are compared at two positions", Cutover, "_level", _compare_early),
    plant("comparison-unpaused", "updates go on under a comparison", Cutover, "_tell_pause", _never_paused),
    plant("left-paused", "a build that failed leaves updates paused", Cutover, "_tell_pause", _left_paused, 300),
    plant("two-at-once", "two new trees are made at once", Cutover, "_go_on", _two_at_once),
    plant("cancelled-goes-on", "a build that was cancelled goes on, and swaps", Cutover, "_step", _goes_on),
    plant("late-word", "an old build's late answer is taken for the new one's", Cutover, "_take_in", _anybodys_word),
    Planted(
        "other-log-taken",
        "a peer's snapshot of another log is taken",
        ((search, "why_unfit", _of_any_log), (Cutover, "_snapshot_read", _as_of_this_log)),
    ),
    plant("bare-taken", "an empty node starts from another's bare snapshot", search, "why_unfit", _bare_too),
    Planted(
        "older-snapshot-taken",
        "a peer's snapshot from behind the node's position is taken",
        ((Cutover, "_snapshot_read", _always_at_once), (Cutover, "_lag", _none_if_at_once)),
    ),
)
