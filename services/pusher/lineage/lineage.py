"""Whether this log goes on from what the nodes have, without any I/O.

A pusher whose disk was not mounted, or whose folder is another's, finds a log that is empty, short, or not its own. An
update that such a log takes is lost on the day the right one comes back. So the door, where pushes and imports come in,
is closed while the nodes say otherwise, and until an operator says that this log is the one from now on.

The rules
---------
1. A log is *vouched for* where something outside of it says that receipts were given from it (`LogStore.vouched_for`).
   A new log, one out of a backup, and one whose mark was lost are not; but for a pusher that stood by while another one
   took updates into it, and has them all (`services/pusher/leadership/standby.py`).
2. A node that has updates which the log lacks, or others under their positions, closes the door: what was acknowledged
   is missing here.
3. So does a node with the state of another log, where nothing vouches for this one. Where something does, one stray
   node is no reason to stop a cluster: it does so only when no node shares this log, and all that are known have spoken
   or had `lineage_patience_s` to do so.
4. A log that nothing vouches for *waits*: until each known node has spoken; after `lineage_patience_s`, until one has.
   Where no node is known, there is nobody to contradict: it waits only for whoever names nodes, for that long.
   Once it has waited well, it is vouched for.
5. A node's last word counts while it is away; that of a node which is no longer in the cluster does not.
6. *Doubted*: this pusher was made active although the coordinator knows another log as the cluster's. Nothing vouches
   for it then, and it waits, however long, until each known node has spoken and there is one, or one has updates of it.
7. *Adopted*: an operator put this log in the place of those that nodes hold, and vouches for it. They go over; what
   they said of those logs counts no more. Where the log lost updates, it has another id from then on: nodes that have
   them go over, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.pusher.fanout.events import NodeStands, Past
from services.pusher.fanout.members import MembersChanged
from services.pusher.lineage.settings import LineageSettings
from services.shared.cores import Tick


@dataclass(frozen=True, slots=True)
class Adopted:
    """It is durable that this log, under this id, stands in the place of those."""

    log_id: str
    replaced_log_ids: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Door:
    """Whether pushes and imports are taken from now on; told on each change.

    Attributes:
        closed: Why not, and what to do; empty where they are.
        waits: It is only not known yet: whoever comes may wait.
    """

    closed: str = ""
    waits: bool = False


LineageEvent = NodeStands | MembersChanged | Adopted | Tick

_MEND = (
    "bring the right log back (in SQLite: fasttree log restore; elsewhere see to pusher.log_url first), "
    "or say `fasttree log adopt` to go on with this one"
)


class Lineage:
    """The core: events in, the door's changes out."""

    def __init__(
        self,
        settings: LineageSettings,
        *,
        log_id: str,
        vouched_for: bool,
        doubted: bool = False,
        replaced_log_ids: tuple[str, ...],
        nodes: tuple[str, ...],
        names_nodes_later: bool,
        now_s: float,
    ) -> None:
        """`nodes`: those that are known at the start. `names_nodes_later`: somebody is asked for more, a coordinator or
        Kubernetes. `replaced_log_ids`: in whose place this log was put before."""
        #: This log's, from the newest adoption on.
        self.log_id = log_id
        self._vouched_for, self._doubted = vouched_for, doubted
        self._replaced = frozenset(replaced_log_ids)
        self._names_nodes_later = names_nodes_later
        self._patient_until_s = now_s + settings.lineage_patience_s
        #: The newest time that it was told.
        self._now_s = now_s
        #: The last word of each known node; None: it has not spoken.
        self._words: dict[str, NodeStands | None] = dict.fromkeys(nodes)
        self.door = self._judge(now_s)

    @property
    def deadline_s(self) -> float | None:
        """When the patience is over; None where nothing waits for it."""
        return self._patient_until_s if self._now_s < self._patient_until_s else None

    def handle(self, event: LineageEvent, now_s: float) -> list[Door]:
        """Takes an event in; the door, if it has changed."""
        self._now_s = now_s
        match event:
            case NodeStands():
                if event.node in self._words and event.past is not Past.UNKNOWN:
                    self._words[event.node] = event
            case MembersChanged():
                self._words = {address: self._words.get(address) for address in event.now.addresses}
            case Adopted():
                self.log_id = event.log_id
                self._replaced, self._vouched_for = frozenset(event.replaced_log_ids), True
            case Tick():
                pass
        before, self.door = self.door, self._judge(now_s)
        return [] if self.door == before else [self.door]

    @property
    def contested(self) -> tuple[str, ...]:
        """The logs that nodes hold the state of, and that this one is not: what an operator's word is about. This log's
        own id among them: nodes have updates that it lost."""
        return tuple(sorted({word.log_id for word in self._against}))

    @property
    def _against(self) -> list[NodeStands]:
        """Words of nodes that have another past than this log."""
        words = [word for word in self._words.values() if word is not None]
        return [word for word in words if word.past is not Past.OURS and word.log_id not in self._replaced]

    def _judge(self, now_s: float) -> Door:
        against = self._against
        ahead = [word for word in against if word.past is Past.AHEAD]
        if ahead:
            most = max(ahead, key=lambda word: word.applied_position)
            return Door(f"this log has lost updates: {most.node} has them up to {most.applied_position}; {_MEND}")
        ours = [word for word in self._words.values() if word is not None and word.past is Past.OURS]
        heard = now_s >= self._patient_until_s or None not in self._words.values()
        if against and not (self._vouched_for and (ours or not heard)):
            first = against[0]
            what = f"{first.node} holds the state of log {first.log_id or '(unnamed)'} at {first.applied_position}"
            return Door(f"this is another log ({self.log_id}) than the nodes have: {what}; {_MEND}")
        if not self._vouched_for:
            door = self._wait(sum(word is not None for word in self._words.values()), now_s)
            if door is not None:
                return door
            self._vouched_for = True
        return Door()

    def _wait(self, spoken: int, now_s: float) -> Door | None:
        """Rules 4 and 6; None where there is nothing to wait for."""
        if self._doubted:
            spoke = [word for word in self._words.values() if word is not None]
            ours = any(word.past is Past.OURS and word.applied_position for word in spoke)
            if ours or 0 < len(spoke) == len(self._words):
                return None
            what = f"waits for the nodes to say what they have ({len(spoke)} of {len(self._words)} did)"
            return Door(f"another log was the cluster's than this one ({self.log_id}): {what}", waits=True)
        patient = now_s < self._patient_until_s
        if not self._words:
            if self._names_nodes_later and patient:
                return Door("nothing vouches for this log: waits to be told which nodes there are", waits=True)
            return None
        if spoken and (spoken == len(self._words) or not patient):
            return None
        what = f"waits for the nodes to say what they have ({spoken} of {len(self._words)} did)"
        return Door(f"nothing vouches for this log: {what}", waits=True)

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        if self.door.waits and (self._vouched_for or not self.door.closed):
            raise AssertionError(f"{self.door}, and the log is {'' if self._vouched_for else 'not '}vouched for")
        if not self.door.closed and any(word.past is Past.AHEAD for word in self._against):
            raise AssertionError("the door is open to a log that has lost updates")
