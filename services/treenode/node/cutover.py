"""How a new tree takes the live one's place, without any I/O.

A tree comes to stand beside the live one in three ways: an *import* that the pusher asks for, a *peer's snapshot* where
records can't bring the node on, and a *relayout*, the live tree laid out anew. Each is a *build*. The live tree serves
and takes updates all the while; the new one is read up to it from the log (*catch-up*), and takes its place in one step
(the *cutover*).

The rules:

1. *One at a time.* One build has the turn; the others wait, in the order of asking. What needs no build is answered at
   once, whoever has the turn: an import that the node serves from, or that is older (`Had`), and one in force that
   can't be built here (sequence.py, rule 4).
2. *What an import carries.* Updates that were held when its file was taken are not in it, and are offered to it first,
   each once. Where the pusher names them, those it names, as in every other node. Else the import is new, and the
   live tree knows, once it stands at the file's position: for that the build waits, `import_position_wait_s_max` at
   most. It has to be of the import that was in force where the pusher asked (`carried_of`), and that one in force until
   the swap: in another tree other updates were held, and two nodes must not carry different ones into one import. An
   import that came in force while the node made its tree is not new any more: it has to be asked again, with what it
   carries. A node that needs a base to get there has no tree to ask: it takes a new import only where the pusher says
   that no other node can tell either (`as_it_comes`).
3. *What is read.* From the position after the new tree's own, in order, up to where the live one is; a new import also
   to where the log ended as it was asked for: in force, it has to be one that the log can bring on, in every node. A
   log that ends before that ends the build. Damage in it does too; of an import, the node then knows that it can't be
   built here. An update that the engine fails at refuses the import: the live tree serves.
4. *When updates are paused.* Only once the new tree lacks no more than `pause_lag_updates`: then nothing is applied,
   the rest is read, and the trees are level. Whatever ends the build resumes applying; so does a live tree that went
   out of reach (a peer's snapshot took its place meanwhile), and reading the rest for longer than `pause_s_max`.
5. *The comparison* is made for a new import, at one exact position. One that other nodes took is taken here too,
   whatever it changes; so is one in a node that needs a base.
6. *The swap* is one step in the gate. Updates stay paused from the comparison to there. The new tree may be further on
   than the live one (in a node that was behind), never behind it: where it is by then, it catches up once more.
7. *A peer's snapshot* (search.py) takes its place at once where records wait for it, whoever has the turn: the live
   tree stands still. Where they don't, it is a build as the others are, and follows the log to where the node is.
8. *What ends a build*: that the import came by another way; that the node went over to another log, whose positions
   mean something else; that the tree which a relayout is a copy of was replaced; that whoever asked went away, or the
   process ends. From that moment on no word about it counts, however late it comes.
"""

from __future__ import annotations

from collections.abc import Callable

from services.shared.cores import Tick
from services.treenode.node import cutover_events as cut
from services.treenode.node.builds import PAUSED_PHASES, Build, Phase
from services.treenode.node.cutover_events import Cause, CutoverAction, CutoverEvent, Way
from services.treenode.node.search import (
    PassOver,
    PeerFailed,
    PeersFound,
    SnapshotOffered,
    SnapshotRead,
    SnapshotSearch,
)
from services.treenode.node.sequence import SequenceCore
from services.treenode.node.sequence_events import LogUnreadable
from services.treenode.node.settings import CutoverSettings

_P = Phase

_Actions = list[CutoverAction]


class Cutover:
    """All builds of one node. Looks where the node stands in `sequence`, and changes nothing there."""

    def __init__(self, settings: CutoverSettings, sequence: SequenceCore, jitter: Callable[[], float]) -> None:
        """`jitter`: draws from [0, 1), for rests that are not in step with other nodes'."""
        self._settings = settings
        self._sequence = sequence
        self.search = SnapshotSearch(settings.search, sequence, jitter)
        #: The build that has the turn.
        self.turn: Build | None = None
        #: Those that wait for it, in the order of asking.
        self.waiting: list[Build] = []
        #: A peer's snapshot that takes its place whoever has the turn (rule 7).
        self.at_once: Build | None = None
        #: Whether the shell was told to pause applying, and not yet to resume.
        self.paused = False
        #: Whether the node's life was told of a load, and not yet of its end.
        self._loading = False
        self._ending = False

    @property
    def builds(self) -> list[Build]:
        """All and only those that have not ended."""
        return [build for build in (self.turn, self.at_once, *self.waiting) if build is not None]

    @property
    def needs_word(self) -> bool:
        """Whether anything here depends on where the node stands."""
        return self.turn is not None or self.search.is_under_way or self._sequence.base_wanted is not None

    @property
    def importing(self) -> int:
        """The import that has the turn; 0 while none has."""
        return self.turn.import_id if self.turn is not None and self.turn.way is Way.IMPORT else 0

    @property
    def _import_on_its_way(self) -> bool:
        """It would be the base that a search looks for: while it is on its way, none begins."""
        return any(build.way is Way.IMPORT for build in self.builds)

    @property
    def deadline_s(self) -> float | None:
        """When a phase, or the search's rest, has lasted for long enough."""
        until_s = self.turn.until_s if self.turn else None
        rests_until_s = None if self._import_on_its_way else self.search.rests_until_s
        return min([at_s for at_s in (until_s, rests_until_s) if at_s is not None], default=None)

    def handle(self, event: CutoverEvent, now_s: float) -> _Actions:
        """Takes the event and returns what is to be done, in order."""
        actions = self._take_in(event, now_s)
        # Where the node stands after a swap, its sequence has to be told first: `LiveTreeReplaced` comes at once.
        if not any(isinstance(action, cut.TakeTree) for action in actions):
            actions += self._end_what_is_over(now_s)
            actions += self._go_on(now_s)
        return self._tell_life(self._tell_pause(actions))

    def _take_in(self, event: CutoverEvent, now_s: float) -> _Actions:
        search = self.search
        match event:
            case cut.ImportAsked() | cut.RelayoutAsked():
                self.waiting.append(self._asked(event))
            case cut.LiveTreeReplaced():
                if self.turn is not None and self.turn.way is Way.RELAYOUT:
                    return self._drop(self.turn, Cause.REPLACED, "the tree was replaced meanwhile", now_s)
            case PeersFound() if event.search == search.number:
                return [*search.peers_found(event, now_s)]
            case SnapshotOffered() if event.search == search.number:
                return [*search.offered(event.snapshot, now_s)]
            case PeerFailed() if event.search == search.number:
                return [*search.failed(event.reason, now_s)]
            case SnapshotRead():
                return self._snapshot_read(event, now_s)
            case cut.NodeEnds():
                self._ending = True
            case cut.NodeMoved() | PeersFound() | SnapshotOffered() | PeerFailed() | Tick():
                pass
            case _:
                build = next((build for build in self.builds if build.number == event.build), None)
                if build is not None:
                    return self._step(build, event, now_s)
        return []

    def _asked(self, event: cut.ImportAsked | cut.RelayoutAsked) -> Build:
        sequence = self._sequence
        if isinstance(event, cut.RelayoutAsked):
            return Build(event.build, Way.RELAYOUT, sequence.import_id, sequence.log_id)
        log_id = event.log_id or sequence.log_id
        build = Build(event.build, Way.IMPORT, event.import_id, log_id, event.as_of_position)
        build.carried, build.was_in_force = event.carried, self._in_force(event.import_id)
        build.as_it_comes, build.reach = event.as_it_comes, 0 if build.was_in_force else sequence.within_reach
        build.carried_of = event.carried_of if event.carried is None else None
        return build

    def _snapshot_read(self, event: SnapshotRead, now_s: float) -> _Actions:
        """Rule 7. What was offered is judged again: the node may be elsewhere by now."""
        found = event.snapshot
        build = Build(event.build, Way.SNAPSHOT, found.import_id, found.log_id, found.position, event.carried)
        if event.search != self.search.number or not self.search.hand_over():
            why = "nobody waits for it any more"
            return [*self._end(build, why), cut.Failed(build.number, Cause.REPLACED, why)]
        if why := self.search.why_unfit(found):
            return self._drop(build, Cause.REPLACED, why, now_s)
        build.found = found
        if not self._sequence.records_wait:
            self.waiting.append(build)
            return []
        self.at_once = build
        build.enter(_P.SWAPPING)
        return [cut.EnterGate(build.number)]

    @property
    def _base_wanted(self) -> bool:
        return self._sequence.base_wanted is not None and not self._ending

    def _in_force(self, import_id: int) -> bool:
        """Whether some node has taken the import, as far as this one has heard."""
        log_end = self._sequence.log_end
        return log_end is not None and log_end.import_id >= import_id

    # -- words about one build

    def _step(self, build: Build, event: cut.BuildEvent, now_s: float) -> _Actions:
        build.expect(event)
        match event:
            case cut.TreeBuilt():
                build.position = event.position
                return self._built(build, now_s)
            case cut.CarriedFound():
                return self._offer(build, event.positions, now_s)
            case cut.CarriedOffered():
                return self._catch_up(build, now_s)
            case cut.LogRead():
                return self._read(build, event.position, now_s)
            case cut.Compared() if not event.refusal:
                build.to_compare = False
                return self._level(build, now_s)
            case cut.InGate():
                return self._take(build) if self._lag(build) <= 0 else self._level(build, now_s)
            case cut.LogReadFailed(engine_failed=True, reason=reason) if build.way is Way.IMPORT:
                return [*self._end(build, reason), cut.Refused(build.number, reason)]
            case cut.LogReadFailed():
                unreadable = event.damaged and build.way is Way.IMPORT
                told: _Actions = [LogUnreadable(build.import_id, event.reason)] if unreadable else []
                return [*told, *self._drop(build, Cause.LOG_NOT_READ, event.reason, now_s)]
            case cut.BuildFailed():
                return self._drop(build, Cause.NOT_BUILT, event.reason, now_s)
            case cut.BuildRefused(reason=reason) | cut.Compared(refusal=reason):
                return [*self._end(build, reason), cut.Refused(build.number, reason)]
            case _:
                return self._end(build, "whoever asked went away")

    def _built(self, build: Build, now_s: float) -> _Actions:
        """Rule 2: what the new tree carries, and whether that has to be found out here."""
        if build.way is not Way.IMPORT:
            return self._catch_up(build, now_s)
        in_force = self._in_force(build.import_id)
        if in_force and not build.was_in_force and build.carried is None:
            why = f"import {build.import_id} came in force while it was built; ask again, with what it carries"
            return self._drop(build, Cause.NODE_BEHIND, why, now_s)
        out_of_reach = self._base_wanted and self._lag(build) < 0
        if in_force or (out_of_reach and build.as_it_comes):
            build.enter(_P.OFFERING)
            return self._offer(build, build.carried or (), now_s)
        if out_of_reach:
            why = f"the node needs a base itself: it can't tell which updates were held at position {build.position}"
            return self._drop(build, Cause.NODE_BEHIND, why, now_s)
        build.to_compare = True
        build.enter(_P.WAITING, now_s + self._settings.import_position_wait_s_max)
        return []

    def _offer(self, build: Build, carried: tuple[int, ...], now_s: float) -> _Actions:
        build.carried = carried
        return [cut.OfferCarried(build.number, carried)] if carried else self._catch_up(build, now_s)

    def _catch_up(self, build: Build, now_s: float) -> _Actions:
        """Rules 3 and 4: reads what the live tree has more while updates go on; the rest with updates paused."""
        build.enter(_P.CATCHING_UP)
        if self._lag(build) > self._settings.pause_lag_updates or build.falls_short:
            return self._read_on(build)
        build.enter(_P.LEVELLING, now_s + self._settings.pause_s_max)
        return self._level(build, now_s)

    def _read(self, build: Build, position: int, now_s: float) -> _Actions:
        build.position = position
        if position < build.reading_to:
            why = f"the log ended at {position}, before {build.reading_to}"
            return self._drop(build, Cause.LOG_NOT_READ, why, now_s)
        return self._catch_up(build, now_s)

    def _level(self, build: Build, now_s: float) -> _Actions:
        """Nothing is applied: reads the rest, compares, swaps; or catches up once more (rule 6)."""
        lag = self._lag(build)
        if lag > self._settings.pause_lag_updates or build.falls_short:
            return self._catch_up(build, now_s)
        if lag > 0:
            build.enter(_P.LEVELLING, now_s + self._settings.pause_s_max)
            return self._read_on(build)
        if build.to_compare:
            build.enter(_P.COMPARING)
            return [cut.Compare(build.number)]
        build.enter(_P.SWAPPING)
        return [cut.EnterGate(build.number)]

    def _read_on(self, build: Build) -> _Actions:
        build.reading_to = max(self._sequence.position, build.reach if build.falls_short else 0)
        return [cut.ReadLog(build.number, build.position + 1, build.reading_to)]

    def _take(self, build: Build) -> _Actions:
        build.enter(_P.ENDED)
        self._remove(build)
        take = cut.TakeTree(build.number, build.log_id, build.import_id, build.position, build.carried)
        return [take, cut.Taken(build.number, build.carried or ())]

    def _lag(self, build: Build) -> int:
        """How many updates the live tree has that the new one lacks; below 0 where it is further on."""
        return self._sequence.position - build.position

    # -- how a build ends

    def _remove(self, build: Build) -> None:
        if build is self.turn:
            self.turn = None
        elif build is self.at_once:
            self.at_once = None
        elif build in self.waiting:
            self.waiting.remove(build)

    def _end(self, build: Build, reason: str) -> _Actions:
        build.enter(_P.ENDED)
        self._remove(build)
        return [cut.Stop(build.number, reason)]

    def _drop(self, build: Build, cause: Cause, reason: str, now_s: float) -> _Actions:
        """The build comes to nothing; where it was a peer's snapshot, the next peer is asked."""
        actions: _Actions = [*self._end(build, reason), cut.Failed(build.number, cause, reason)]
        if build.way is Way.SNAPSHOT and self._base_wanted:
            actions += self.search.failed(reason, now_s)
        return actions

    def _end_what_is_over(self, now_s: float) -> _Actions:
        """Rules 1, 4 and 8, by where the node stands and by the time."""
        sequence, actions = self._sequence, list[CutoverAction]()
        for build in self.builds:
            if self._ending:
                actions += self._drop(build, Cause.NODE_ENDS, "the node is asked to end", now_s)
            elif build.log_id and sequence.log_id and build.log_id != sequence.log_id:
                why = f"it is of log {build.log_id}, the node of log {sequence.log_id}"
                actions += self._drop(build, Cause.OTHER_LOG, why, now_s)
            elif build.way is Way.IMPORT and build.import_id <= sequence.import_id:
                same = build.import_id == sequence.import_id
                actions += [*self._end(build, "the node has the import"), cut.Had(build.number, same)]
            elif build.way is Way.SNAPSHOT and not self._base_wanted:
                actions += self._drop(build, Cause.REPLACED, "no base is needed any more", now_s)
            elif build is self.at_once and build.found and (why := self.search.why_unfit(build.found)):
                actions += self._drop(build, Cause.REPLACED, why, now_s)
            elif build is self.at_once and self._lag(build) > 0:
                actions += self._drop(build, Cause.REPLACED, "the node is further on by now", now_s)
            elif (
                build.way is Way.IMPORT
                and build.phase is _P.ASKED
                and (why := sequence.why_unbuildable(build.import_id))
            ):
                why = f"waits for a peer's snapshot: {why}"
                actions += self._drop(build, Cause.LOG_NOT_READ, why, now_s)
            elif why := build.why_other_tree(sequence.import_id, sequence.log_end.import_id if sequence.log_end else 0):
                actions += self._drop(build, Cause.NODE_BEHIND, why, now_s)
            elif build.until_s is not None and now_s >= build.until_s:
                actions += self._drop_late(build, now_s)
        return actions

    def _drop_late(self, build: Build, now_s: float) -> _Actions:
        cause = Cause.NODE_BEHIND if build.phase is _P.WAITING else Cause.LOG_NOT_READ
        return self._drop(build, cause, build.why_late(self._sequence.position, self._settings.pause_s_max), now_s)

    # -- what comes next

    def _go_on(self, now_s: float) -> _Actions:
        """Whoever waited for the live tree, for the turn, or for peace to look for a base."""
        actions: _Actions = []
        build = self.turn
        if build is not None and build.phase is _P.WAITING and self._lag(build) >= 0:
            build.enter(_P.OFFERING)
            if build.carried is None:
                actions.append(cut.FindCarried(build.number, build.position))
            else:
                actions += self._offer(build, build.carried, now_s)
        if self.turn is None and self.waiting:
            self.turn = build = self.waiting.pop(0)
            if build.way is Way.SNAPSHOT:
                actions += self._catch_up(build, now_s)
            else:
                if build.way is Way.RELAYOUT:
                    build.import_id = self._sequence.import_id  # of the tree that is copied now
                build.enter(_P.BUILDING)
                actions.append(cut.MakeTree(build.number))
        may_begin = not self._import_on_its_way
        return [*actions, *self.search.go_on(now_s, wanted=self._base_wanted, may_begin=may_begin)]

    def _tell_pause(self, actions: _Actions) -> _Actions:
        """Updates are paused in those phases and at no other time, whatever led there (rule 4)."""
        paused = self.turn is not None and self.turn.phase in PAUSED_PHASES
        if paused == self.paused:
            return actions
        self.paused = paused
        return [cut.PauseApplying(), *actions] if paused else [*actions, cut.ResumeApplying()]

    def _tell_life(self, actions: _Actions) -> _Actions:
        """While the node has no tree to serve, its life is that of what it loads."""
        loading = bool(self.importing) or self.search.has_hope
        if loading == self._loading:
            return actions
        self._loading = loading
        if loading:
            what = f"import {self.importing}" if self.importing else f"a snapshot of {self.search.peer}"
            return [cut.LoadBegun(what), *actions]
        reasons = [action.reason for action in actions if isinstance(action, cut.Stop | PassOver)]
        return [*actions, cut.LoadFailed(reasons[-1] if reasons else "it has a tree")]

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        self.search.validate()
        numbers = [build.number for build in self.builds]
        if len(set(numbers)) < len(numbers):
            raise AssertionError(f"builds {numbers}: two of one number")
        for build in self.builds:
            build.validate()
            if (build in self.waiting) != (build.phase is _P.ASKED):
                raise AssertionError(f"a build that {build.phase.value} has or lacks the turn: {build}")
            if build is self.at_once and (build.way, build.phase) != (Way.SNAPSHOT, _P.SWAPPING):
                raise AssertionError(f"{build} would take its place at once")
        if self.at_once is not None and not self.search.is_under_way:
            raise AssertionError(f"{self.at_once} is of no search")
        if self.paused != (self.turn is not None and self.turn.phase in PAUSED_PHASES):
            raise AssertionError(f"updates are {'paused' if self.paused else 'applied'}, and the turn is {self.turn}")
        if self.waiting and self.turn is None:
            raise AssertionError(f"{len(self.waiting)} builds wait, and none has the turn")
