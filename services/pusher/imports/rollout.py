"""Which node takes which import, and when: the rollout of import files, without any I/O.

**The rules.** An import is in one of five states (`TRANSITIONS` below). *Waiting*: no node has begun with it.
*Rolling out*: nodes take it, one after another. *Done*: every connected node serves from it. *Refused*: a node found
the file bad, or too many nodes died of it. *Superseded*: a newer one took its place.

1. One load at a time in the whole cluster: while one node builds a tree, every other one serves undisturbed.
2. Passive nodes first, in host-file order; the primary last. Roles are looked at anew for each load.
3. The first node is the *canary*. If it refuses the file, the import is refused, and no other node ever sees it; the
   import in force stays. The canary serves the import in force: in an older tree other updates are held, and one that
   is in the file already would be carried and count twice; a node with an older one takes the one in force first. The
   primary is the canary only if no other node is known, or none was there for `canary_patience_s`.
4. An import is *in force* once a node serves from it and that, with the node's carried positions, is on disk
   (`RecordTaken`, answered by `Recorded`). Only then the log's end names it and the next node begins: otherwise a
   pusher that starts again could give a later node other carried updates than the first one took. Where a node turns
   out to serve an import newer than the one in force (the pusher died in between, or the node's last word was lost),
   that node is asked again before anything else is begun: it answers at once, with the same carried positions.
5. A node that fails (not the file: it died, or could not be reached) is left for a back-off of its own while the
   others go on. A canary that fails after it had begun may have died of the file: after `canary_deaths_max` such
   failures the import is refused, lest it take down one node after another. After the canary, a refusal is the one
   node's own trouble (its disk, say): it backs off and is asked again.
6. A newer import takes the place of one that is waiting, or that other nodes still lack, once no load of it is under
   way. The newest import that is neither refused nor superseded is the *candidate*.
7. A node that comes (back) with an older import than the one in force, or with none, gets that one, at any time.
8. A load without a sign of life for `load_stall_s` counts as failed.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

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
    RolloutEvent,
)
from services.shared.cores import Tick


class RolloutBrokenError(Exception):
    """A rule above was broken: a fault of the program, never of a node or a file."""


#: An import in one of these may still become the one in force.
OPEN_PLACES = frozenset({ImportPlace.WAITING, ImportPlace.ROLLING_OUT})

#: From each state, the states that may follow it. A superseded one may still be taken, or refused, by the canary that
#: had begun with it; it stays superseded when taken. A refused one rolls out again if a node turns out to serve it
#: after all (its word had been lost, and counted as its death).
TRANSITIONS: dict[ImportPlace, frozenset[ImportPlace]] = {
    ImportPlace.WAITING: frozenset({ImportPlace.ROLLING_OUT, ImportPlace.SUPERSEDED}),
    ImportPlace.ROLLING_OUT: frozenset({ImportPlace.DONE, ImportPlace.REFUSED, ImportPlace.SUPERSEDED}),
    ImportPlace.DONE: frozenset(),
    ImportPlace.REFUSED: frozenset({ImportPlace.ROLLING_OUT, ImportPlace.SUPERSEDED}),
    ImportPlace.SUPERSEDED: frozenset({ImportPlace.REFUSED}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutSettings:
    """Patience of the rollout, in seconds, and how many canaries may die."""

    canary_patience_s: float = 10.0
    canary_deaths_max: int = 3
    load_stall_s: float = 120.0
    backoff_initial_s: float = 1.0
    backoff_max_s: float = 60.0


@dataclass(frozen=True, slots=True)
class KnownImport:
    """An import as it was recorded. `taken`: a node serves from it, and its carried positions are stored."""

    import_id: int
    place: ImportPlace
    taken: bool


@dataclass(slots=True)
class RolloutNode:
    """A node as the rollout sees it."""

    node: str
    connected: bool = False
    #: The import that it said it serves; 0 for none.
    import_id: int = 0
    #: Not asked before this time.
    retry_at: float = 0.0
    failures: int = 0
    #: Why the last load failed; empty after a good one.
    note: str = ""


@dataclass(slots=True)
class RolloutImport:
    """An import as the rollout sees it."""

    import_id: int
    place: ImportPlace
    #: Whether a node serves from it and its carried positions are on disk.
    taken: bool
    #: Canaries that failed after they had begun with it.
    deaths: int = 0
    reason: str = ""


@dataclass(slots=True)
class RunningLoad:
    """The one load under way."""

    node: str
    import_id: int
    attempt: int
    alive_at: float
    #: The node's stream began anew meanwhile: it may have started again with less than it says of the load.
    came_up: bool = False


class Rollout:
    """The rollout core: events in, actions out, in the order in which they are to be done."""

    def __init__(self, settings: RolloutSettings, imports: tuple[KnownImport, ...]) -> None:
        """`imports`: everything recorded, in any order."""
        self.settings = settings
        self.imports = {
            known.import_id: RolloutImport(known.import_id, known.place, known.taken)
            for known in sorted(imports, key=lambda known: known.import_id)
        }
        self.nodes: dict[str, RolloutNode] = {}
        self.primary: str | None = None
        self.load: RunningLoad | None = None
        #: The import whose `RecordTaken` is not answered yet.
        self.recording: int | None = None
        self._attempts = 0
        self._in_force = max((known.import_id for known in imports if known.taken), default=0)
        #: Since when a candidate has waited for a canary that is not the primary; None while none does.
        self._patient_since: float | None = None
        #: The newest time that it was told.
        self._now_s = -math.inf
        self._story: deque[str] = deque(maxlen=24)

    # -- what it knows

    @property
    def in_force(self) -> int:
        """The newest import that a node has taken; 0 before the first."""
        return self._in_force

    @property
    def candidate(self) -> int:
        """The import that nodes should get next: the newest neither refused nor superseded, or the one in force."""
        newest = max((known.import_id for known in self.imports.values() if known.place in OPEN_PLACES), default=0)
        return max(newest, self.in_force)

    def handle(self, event: RolloutEvent, now_s: float) -> list[RolloutAction]:
        """Takes one event; `now_s` in seconds, never less than before."""
        self._now_s = now_s
        actions: list[RolloutAction] = []
        match event:
            case Tick():
                actions += self._give_up_stalled(now_s)
            case HostsKnown(nodes):
                actions += self._hosts_known(nodes)
            case NodeUp(address, import_id):
                self._node_up(address, import_id, now_s)
            case NodeDown(address):
                if address in self.nodes:
                    self.nodes[address].connected = False
            case PrimarySeen(address_or_none):
                self.primary = address_or_none
            case ImportAdded():
                self._added(event.import_id)
            case Recorded():
                actions += self._recorded(event.import_id)
            case LoadProgress():
                if self._is_current(event):
                    self._running().alive_at = now_s
            case LoadDone():
                if self._is_current(event):
                    actions += self._done(event)
            case LoadRefused():
                if self._is_current(event):
                    actions += self._refused(event, now_s)
            case LoadFailed():
                if self._is_current(event):
                    actions += self._failed(event, now_s)
        return actions + self._next(now_s)

    @property
    def deadline_s(self) -> float | None:
        """When the load under way has stalled, or the next one may begin; None while nothing waits for time."""
        if self.load is not None:
            return self.load.alive_at + self.settings.load_stall_s
        if self.recording is not None:
            return None
        times = [node.retry_at for node in self.nodes.values() if node.connected]
        if self._patient_since is not None:
            times.append(self._patient_since + self.settings.canary_patience_s)
        return min([time for time in times if time > self._now_s], default=None)

    def _give_up_stalled(self, now_s: float) -> list[RolloutAction]:
        """Rule 8."""
        load = self.load
        if load is None or now_s < load.alive_at + self.settings.load_stall_s:
            return []
        reason = f"no sign of life for {self.settings.load_stall_s:g} s"
        failed = LoadFailed(load.node, load.attempt, reason, True)
        return [CancelLoad(load.node, load.import_id, load.attempt), *self._failed(failed, now_s)]

    # -- nodes and imports come

    def _hosts_known(self, nodes: tuple[str, ...]) -> list[RolloutAction]:
        actions: list[RolloutAction] = []
        if self.load is not None and self.load.node not in nodes:
            load, self.load = self.load, None
            actions.append(CancelLoad(load.node, load.import_id, load.attempt))
        self.nodes = {address: self.nodes.get(address, RolloutNode(address)) for address in nodes}
        return actions

    def _node_up(self, address: str, import_id: int, now_s: float) -> None:
        node = self.nodes.get(address)
        if node is None:
            return
        if not node.connected and self.load is not None and self.load.node == address:
            self.load.came_up = True
        elif not node.connected:
            node.retry_at = now_s  # it has just come: whatever it failed at before, it may do better now
        node.connected, node.import_id = True, import_id

    def _added(self, import_id: int) -> None:
        if self.imports and import_id <= max(self.imports):
            raise RolloutBrokenError(f"import {import_id} came after import {max(self.imports)}: ids only grow")
        self.imports[import_id] = RolloutImport(import_id, ImportPlace.WAITING, taken=False)
        self._patient_since = None

    def _supersede(self) -> list[RolloutAction]:
        """Rule 6; after a start too: the pusher may have died before an older one's end was recorded."""
        open_ids = [known.import_id for known in self.imports.values() if known.place in OPEN_PLACES]
        actions: list[RolloutAction] = []
        for older in open_ids[:-1]:
            actions += self._move(self.imports[older], ImportPlace.SUPERSEDED, f"import {open_ids[-1]} is newer")
        return actions

    # -- the load under way

    def _is_current(self, event: LoadProgress | LoadDone | LoadRefused | LoadFailed) -> bool:
        return self.load is not None and (self.load.node, self.load.attempt) == (event.node, event.attempt)

    def _running(self) -> RunningLoad:
        if self.load is None:
            raise RolloutBrokenError("there is no load under way")
        return self.load

    def _done(self, event: LoadDone) -> list[RolloutAction]:
        load = self._running()
        self.load = None
        node = self.nodes[load.node]
        node.failures, node.note = 0, ""
        # One that came up since is taken by its own word, or asked once more: it says at once what it has.
        if not load.came_up:
            node.import_id = max(node.import_id, load.import_id)
        known = self.imports[load.import_id]
        if known.taken:
            return []
        self.recording = load.import_id
        return [RecordTaken(load.import_id, event.carried_positions)]

    def _recorded(self, import_id: int) -> list[RolloutAction]:
        if self.recording != import_id:
            raise RolloutBrokenError(f"import {import_id} was recorded as taken unasked: {'; '.join(self._story)}")
        self.recording = None
        self.imports[import_id].taken = True
        self._in_force = max(self._in_force, import_id)
        self._story.append(f"import {import_id} is in force")
        return [Announce(self.in_force)]

    def _refused(self, event: LoadRefused, now_s: float) -> list[RolloutAction]:
        load = self._running()
        self.load = None
        known = self.imports[load.import_id]
        if known.taken:
            self._back_off(self.nodes[load.node], f"refused import {load.import_id}: {event.reason}", now_s)
            return []
        return self._move(known, ImportPlace.REFUSED, event.reason)

    def _failed(self, event: LoadFailed, now_s: float) -> list[RolloutAction]:
        load = self._running()
        self.load = None
        known = self.imports[load.import_id]
        self._back_off(self.nodes[load.node], f"failed at import {load.import_id}: {event.reason}", now_s)
        serves_it = self.nodes[load.node].import_id == load.import_id
        if known.taken or serves_it or not event.begun:
            return []
        known.deaths += 1
        if known.deaths < self.settings.canary_deaths_max:
            return []
        reason = f"{known.deaths} loads died of it, the last one on {event.node}: {event.reason}"
        return self._move(known, ImportPlace.REFUSED, reason)

    def _back_off(self, node: RolloutNode, note: str, now_s: float) -> None:
        longest = self.settings.backoff_initial_s * float(2 ** min(node.failures, 30))
        node.failures += 1
        node.note = note
        node.retry_at = now_s + min(longest, self.settings.backoff_max_s)

    # -- what comes next

    def _next(self, now_s: float) -> list[RolloutAction]:
        actions = self._supersede() + self._finish()
        if self.load is not None or self.recording is not None:
            return actions
        node, import_id = self._choose(now_s)
        if node is None:
            return actions
        known = self.imports[import_id]
        if known.place in (ImportPlace.WAITING, ImportPlace.REFUSED):
            place = ImportPlace.SUPERSEDED if self.candidate > import_id else ImportPlace.ROLLING_OUT
            actions += self._move(known, place, f"{node.node} begins")
        self._attempts += 1
        self.load = RunningLoad(node.node, import_id, self._attempts, now_s)
        self._story.append(f"load {self._attempts}: import {import_id} on {node.node}")
        sources = tuple(
            peer.node
            for peer in self.nodes.values()
            if peer.connected and peer.import_id == import_id and peer.node != node.node
        )
        actions.append(Load(node.node, import_id, self._attempts, sources))
        return actions

    def _choose(self, now_s: float) -> tuple[RolloutNode | None, int]:
        """The node to ask now, and for which import."""
        for node in self._connected(now_s):
            if node.import_id > self.in_force and node.import_id in self.imports:
                return node, node.import_id  # rule 4: its word was lost
        import_id = self.candidate
        if import_id > self.in_force:
            canary = self._canary(import_id, now_s)
            if canary is not None:
                return canary, import_id
        # A canary that is not to be had must not keep a node that came back from the import in force.
        return self._next_of(self.in_force, now_s), self.in_force

    def _finish(self) -> list[RolloutAction]:
        """Marks the import in force as done once every connected node serves it, and no load of it is under way.

        A node may serve it before its load is over: by a peer's snapshot.
        """
        known = self.imports.get(self.in_force)
        if known is None or known.place is not ImportPlace.ROLLING_OUT:
            return []
        if self.load is not None and self.load.import_id == known.import_id:
            return []
        connected = [node for node in self.nodes.values() if node.connected]
        if not connected or any(node.import_id < known.import_id for node in connected):
            return []
        return self._move(known, ImportPlace.DONE, "")

    def _canary(self, import_id: int, now_s: float) -> RolloutNode | None:
        """The first node for an import that none has taken, or None if it has to wait for one."""
        ready = [node for node in self._connected(now_s) if node.import_id == self.in_force]
        passive = [node for node in ready if node.node != self.primary]
        if passive:
            self._patient_since = None
            return passive[0]
        if self._patient_since is None:
            self._patient_since = now_s
        if len(self.nodes) > 1 and now_s < self._patient_since + self.settings.canary_patience_s:
            return None
        return ready[0] if ready else None

    def _next_of(self, import_id: int, now_s: float) -> RolloutNode | None:
        """The next node that lacks the import in force: passive ones in host-file order, then the primary."""
        lacking = [node for node in self._connected(now_s) if node.import_id < import_id]
        return min(lacking, key=lambda node: node.node == self.primary, default=None)

    def _connected(self, now_s: float) -> list[RolloutNode]:
        return [node for node in self.nodes.values() if node.connected and now_s >= node.retry_at]

    # -- rules

    def _move(self, known: RolloutImport, place: ImportPlace, reason: str) -> list[RolloutAction]:
        if place not in TRANSITIONS[known.place]:
            told = f"import {known.import_id}: {known.place} cannot become {place} ({reason})"
            raise RolloutBrokenError(f"{told}; before: {'; '.join(self._story)}")
        self._story.append(f"import {known.import_id}: {known.place} -> {place}: {reason}")
        known.place, known.reason = place, reason
        return [RecordPlace(known.import_id, place, reason)]

    def validate(self) -> None:
        """Raises `RolloutBrokenError` if a rule of this file does not hold."""
        problems: list[str] = []
        if self.load is not None:
            problems += [] if self.load.node in self.nodes else [f"{self.load.node} loads, but is not known"]
            problems += ["a load runs while the first one is not on disk"] if self.recording is not None else []
            refused = self.imports[self.load.import_id].place is ImportPlace.REFUSED
            problems += [f"import {self.load.import_id} was refused, but is loaded"] if refused else []
        still_open = [known.import_id for known in self.imports.values() if known.place in OPEN_PLACES]
        problems += [f"imports {still_open} roll out at once"] if len(still_open) > 1 else []
        problems += [
            f"import {known.import_id} is {known.place}, but no node took it"
            for known in self.imports.values()
            if known.place is ImportPlace.DONE and not known.taken
        ]
        problems += [
            f"import {known.import_id} is taken and {known.place}"
            for known in self.imports.values()
            if known.taken and known.place in (ImportPlace.REFUSED, ImportPlace.WAITING)
        ]
        if problems:
            raise RolloutBrokenError(f"{'; '.join(problems)}; before: {'; '.join(self._story)}")
