"""Which node takes which import, and when: the rollout of import files, without any I/O.

**The rules.** The states of an import: `places.py`.

1. One load at a time in the whole cluster: while one node builds a tree, every other one serves undisturbed.
2. Passive nodes first, in host-file order; the primary last. Roles are looked at anew for each load.
3. The first node is the *canary*. If it refuses the file, the import is refused, and no other node ever sees it; the
   import in force stays. The canary serves the import in force: in an older tree other updates are held, and one that
   is in the file already would be carried and count twice; a node with an older one takes the one in force first. And
   it follows the log: one that needs a base can't say which updates were held when the file was taken, and they would
   be lost. Only where no node follows it for `canary_patience_s` is the import taken as it comes. The primary is the
   canary only if no other node is known, or none was there for `canary_patience_s`.
4. An import is *in force* once a node serves from it and that, with the node's carried positions, is on disk
   (`RecordTaken`, answered by `Recorded`). Only then the log's end names it and the next node begins: otherwise a
   pusher that starts again could give a later node other carried updates than the first one took. Where a node turns
   out to serve an import newer than the one in force (the pusher died in between, or the node's last word was lost),
   that node is asked again before anything else is begun: it answers at once, with the same carried positions. Not so
   where a newer one is the candidate, and a node is there to try it: a load of that one may still go on somewhere,
   asked for by a pusher that died, and it carries what is held in the tree of the import in force. Were another in
   force meanwhile, the next canary would carry what is held in that one's.
5. A node that fails (not the file: it died, or could not be reached) is left for a back-off of its own while the
   others go on. A canary that fails after it had begun may have died of the file: after `canary_deaths_max` such
   failures the import is refused, lest it take down one node after another. After the canary, a refusal is the one
   node's own trouble (its disk, say): it backs off and is asked again.
6. A newer import goes before one that is waiting, or that other nodes still lack, once no load of it is under way: the
   newest import that is neither refused nor superseded is the *candidate*. It takes the older ones' place when it is in
   force, and not before: where it is refused, they go on.
7. A node that comes (back) with an older import than the one in force, or with none, gets that one, at any time.
8. A load without a sign of life for `load_stall_s` counts as failed, and so does one that is not over after
   `load_s_max`: a node, or a peer that it downloads from, may show a little progress for ever.
9. A node that serves an import which was never recorded here has it from somebody else: it is *strange*, and nothing
   that it serves counts. No import is done while it is there. Nobody heals it in silence.
"""

from __future__ import annotations

import math
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
    RecordTaken,
    RolloutAction,
    RolloutEvent,
)
from services.pusher.imports.places import ImportPlaces, KnownImport
from services.pusher.imports.settings import RolloutSettings
from services.shared.backoff import Backoff
from services.shared.cores import Tick
from services.shared.domain.sentences import counted


@dataclass(slots=True)
class RolloutNode:
    """A node as the rollout sees it."""

    node: str
    connected: bool = False
    #: The import that it said it serves; 0 for none.
    import_id: int = 0
    #: Whether records bring it on.
    follows_log: bool = False
    #: Not asked before this time.
    retry_at: float = 0.0
    failures: int = 0
    #: Why the last load failed; empty after a good one.
    note: str = ""


@dataclass(slots=True)
class RunningLoad:
    """The one load under way."""

    node: str
    import_id: int
    attempt: int
    begun_at: float
    alive_at: float
    #: The node's stream began anew meanwhile: it may have started again with less than it says of the load.
    came_up: bool = False


class Rollout:
    """The rollout core: events in, actions out, in the order in which they are to be done."""

    def __init__(self, settings: RolloutSettings, imports: tuple[KnownImport, ...]) -> None:
        """`imports`: everything recorded, in any order."""
        self.settings = settings
        self._backoff = Backoff(settings.load_backoff_initial_s, settings.load_backoff_max_s)
        self.places = ImportPlaces(imports)
        self.nodes: dict[str, RolloutNode] = {}
        self.primary: str | None = None
        self.load: RunningLoad | None = None
        #: The import whose `RecordTaken` is not answered yet.
        self.recording: int | None = None
        self._attempts = 0
        #: Since when a candidate has waited for a canary that is not the primary; None while none does.
        self._patient_since: float | None = None
        #: The newest time that it was told.
        self._now_s = -math.inf

    @property
    def in_force(self) -> int:
        """The newest import that a node has taken; 0 before the first."""
        return self.places.in_force

    @property
    def strange(self) -> dict[str, int]:
        """Nodes that serve an import which was never recorded, and which one (rule 9)."""
        return {
            node.node: node.import_id
            for node in self.nodes.values()
            if node.connected and node.import_id and node.import_id not in self.places
        }

    def handle(self, event: RolloutEvent, now_s: float) -> list[RolloutAction]:
        """Takes one event; `now_s` in seconds, never less than before."""
        self._now_s = now_s
        actions: list[RolloutAction] = []
        match event:
            case Tick():
                actions += self._give_up_stalled(now_s)
            case HostsKnown(nodes):
                actions += self._hosts_known(nodes)
            case NodeUp():
                self._node_up(event, now_s)
            case NodeDown(address):
                if address in self.nodes:
                    self.nodes[address].connected = False
            case PrimarySeen(address_or_none):
                self.primary = address_or_none
            case ImportAdded():
                self.places.add(event.import_id)
                self._patient_since = None
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
            return self._given_up_at(self.load)
        if self.recording is not None:
            return None
        times = [node.retry_at for node in self.nodes.values() if node.connected]
        if self._patient_since is not None:
            times.append(self._patient_since + self.settings.canary_patience_s)
        return min([time for time in times if time > self._now_s], default=None)

    def _give_up_stalled(self, now_s: float) -> list[RolloutAction]:
        """Rule 8."""
        load, settings = self.load, self.settings
        if load is None or now_s < self._given_up_at(load):
            return []
        stalled = now_s >= load.alive_at + settings.load_stall_s
        reason = (
            f"no sign of life for {settings.load_stall_s:g} s" if stalled else f"not over in {settings.load_s_max:g} s"
        )
        failed = LoadFailed(load.node, load.attempt, reason, True)
        return [CancelLoad(load.node, load.import_id, load.attempt), *self._failed(failed, now_s)]

    def _given_up_at(self, load: RunningLoad) -> float:
        """Rule 8."""
        return min(load.alive_at + self.settings.load_stall_s, load.begun_at + self.settings.load_s_max)

    # -- nodes and imports come

    def _hosts_known(self, nodes: tuple[str, ...]) -> list[RolloutAction]:
        actions: list[RolloutAction] = []
        if self.load is not None and self.load.node not in nodes:
            load, self.load = self.load, None
            actions.append(CancelLoad(load.node, load.import_id, load.attempt))
        self.nodes = {address: self.nodes.get(address, RolloutNode(address)) for address in nodes}
        return actions

    def _node_up(self, event: NodeUp, now_s: float) -> None:
        node = self.nodes.get(event.node)
        if node is None:
            return
        if not node.connected and self.load is not None and self.load.node == event.node:
            self.load.came_up = True
        elif not node.connected:
            node.retry_at = now_s  # it has just come: whatever it failed at before, it may do better now
        node.connected, node.import_id, node.follows_log = True, event.import_id, event.follows_log

    # -- the load under way

    def _is_current(self, event: LoadProgress | LoadDone | LoadRefused | LoadFailed) -> bool:
        return self.load is not None and (self.load.node, self.load.attempt) == (event.node, event.attempt)

    def _running(self) -> RunningLoad:
        if self.load is None:
            raise self.places.broken("there is no load under way")
        return self.load

    def _done(self, event: LoadDone) -> list[RolloutAction]:
        load = self._running()
        self.load = None
        node = self.nodes[load.node]
        node.failures, node.note = 0, ""
        # One that came up since is taken by its own word, or asked once more: it says at once what it has.
        if not load.came_up:
            node.import_id = max(node.import_id, load.import_id)
        known = self.places[load.import_id]
        if known.taken:
            return []
        self.recording = load.import_id
        carried = (event.carried_positions, event.carried_holds, event.carried_removals)
        return [RecordTaken(load.import_id, *carried)]

    def _recorded(self, import_id: int) -> list[RolloutAction]:
        if self.recording != import_id:
            raise self.places.broken(f"import {import_id} was recorded as taken unasked")
        self.recording = None
        self.places.take(import_id)
        return [Announce(self.in_force)]

    def _refused(self, event: LoadRefused, now_s: float) -> list[RolloutAction]:
        load = self._running()
        self.load = None
        known = self.places[load.import_id]
        if known.taken:
            self._back_off(self.nodes[load.node], f"refused import {load.import_id}: {event.reason}", now_s)
            return []
        return [self.places.move(load.import_id, ImportPlace.REFUSED, event.reason)]

    def _failed(self, event: LoadFailed, now_s: float) -> list[RolloutAction]:
        load = self._running()
        self.load = None
        known = self.places[load.import_id]
        self._back_off(self.nodes[load.node], f"failed at import {load.import_id}: {event.reason}", now_s)
        serves_it = self.nodes[load.node].import_id == load.import_id
        if known.taken or serves_it or not event.begun:
            return []
        known.deaths += 1
        if known.deaths < self.settings.canary_deaths_max:
            return []
        reason = f"{counted(known.deaths, 'load')} died of it, the last one on {event.node}: {event.reason}"
        return [self.places.move(load.import_id, ImportPlace.REFUSED, reason)]

    def _back_off(self, node: RolloutNode, note: str, now_s: float) -> None:
        node.retry_at = now_s + self._backoff.wait_s(node.failures)
        node.failures += 1
        node.note = note

    # -- what comes next

    def _next(self, now_s: float) -> list[RolloutAction]:
        actions: list[RolloutAction] = [*self.places.supersede(), *self._finish()]
        if self.load is not None or self.recording is not None:
            return actions
        node, import_id = self._choose(now_s)
        if node is None:
            return actions
        if self.places[import_id].place not in (ImportPlace.ROLLING_OUT, ImportPlace.DONE):
            actions.append(self.places.move(import_id, ImportPlace.ROLLING_OUT, f"{node.node} begins"))
        self._attempts += 1
        self.load = RunningLoad(node.node, import_id, self._attempts, begun_at=now_s, alive_at=now_s)
        self.places.tell(f"load {self._attempts}: import {import_id} on {node.node}")
        sources = tuple(
            peer.node
            for peer in self.nodes.values()
            if peer.connected and peer.import_id == import_id and peer.node != node.node
        )
        as_it_comes = import_id > self.in_force and node.import_id == self.in_force and not node.follows_log
        carried_of = None if self.places[import_id].taken else self.in_force
        actions.append(Load(node.node, import_id, self._attempts, sources, as_it_comes, carried_of))
        return actions

    def _choose(self, now_s: float) -> tuple[RolloutNode | None, int]:
        """The node to ask now, and for which import."""
        import_id = self.places.candidate
        lost = self._lost_word(now_s)
        if lost is not None and (lost.import_id >= import_id or self._nobody_tries_it(now_s)):
            return lost, lost.import_id  # rule 4
        if import_id > self.in_force:
            canary = self._canary(now_s)
            if canary is not None:
                return canary, import_id
        # A canary that is not to be had must not keep a node that came back from the import in force.
        return self._next_of(self.in_force, now_s), self.in_force

    def _finish(self) -> list[RolloutAction]:
        """Marks the import in force as done once every connected node serves it, and no load of it is under way.

        A node may serve it before its load is over: by a peer's snapshot.
        """
        import_id = self.in_force
        if import_id not in self.places or self.places[import_id].place is not ImportPlace.ROLLING_OUT:
            return []
        if self.load is not None and self.load.import_id == import_id:
            return []
        connected = [node for node in self.nodes.values() if node.connected]
        if not connected or self.strange or any(node.import_id < import_id for node in connected):
            return []
        return [self.places.move(import_id, ImportPlace.DONE, "")]

    def _canary(self, now_s: float) -> RolloutNode | None:
        """The first node for an import that none has taken, or None if it has to wait for one."""
        if passive := self._passive_canaries(now_s):
            self._patient_since = None
            return passive[0]
        ready = [node for node in self._connected(now_s) if node.import_id == self.in_force]
        following = [node for node in ready if node.follows_log]
        if self._patient_since is None:
            self._patient_since = now_s
        alone = len(self.nodes) == 1 and bool(following)
        if not alone and now_s < self._patient_since + self.settings.canary_patience_s:
            return None
        return next(iter(following or ready), None)

    def _lost_word(self, now_s: float) -> RolloutNode | None:
        """A node whose word that it took an import never came here (rule 4); of several that of the newest."""
        ahead = [n for n in self._connected(now_s) if n.import_id > self.in_force and n.import_id in self.places]
        return max(ahead, key=lambda node: node.import_id, default=None)

    def _nobody_tries_it(self, now_s: float) -> bool:
        """No passive node serves the import in force: all are further, or none was there for `canary_patience_s`."""
        if self._passive_canaries(now_s):
            return False
        if all(node.connected and node.import_id > self.in_force for node in self.nodes.values()):
            return True
        since = self._patient_since
        return since is not None and now_s >= since + self.settings.canary_patience_s

    def _passive_canaries(self, now_s: float) -> list[RolloutNode]:
        """Those that may try an import first (rule 3)."""
        ready = [node for node in self._connected(now_s) if node.import_id == self.in_force]
        return [node for node in ready if node.follows_log and node.node != self.primary]

    def _next_of(self, import_id: int, now_s: float) -> RolloutNode | None:
        """The next node that lacks the import in force: passive ones in host-file order, then the primary."""
        lacking = [node for node in self._connected(now_s) if node.import_id < import_id]
        return min(lacking, key=lambda node: node.node == self.primary, default=None)

    def _connected(self, now_s: float) -> list[RolloutNode]:
        return [node for node in self.nodes.values() if node.connected and now_s >= node.retry_at]

    def validate(self) -> None:
        """Raises `RolloutBrokenError` if a rule of this file does not hold."""
        problems = self.places.problems()
        if self.load is not None:
            problems += [] if self.load.node in self.nodes else [f"{self.load.node} loads, but is not known"]
            problems += ["a load runs while the first one is not on disk"] if self.recording is not None else []
            refused = self.places[self.load.import_id].place is ImportPlace.REFUSED
            problems += [f"import {self.load.import_id} was refused, but is loaded"] if refused else []
        if problems:
            raise self.places.broken("; ".join(problems))
