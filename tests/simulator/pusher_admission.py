"""Pushes to the pusher in the simulator: performs what the real admission core and the real write queue ask for."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.pusher.admission import events
from services.pusher.admission.acks import AckRange
from services.pusher.admission.admission import Admission
from services.pusher.admission.batch import Batch, Malformed
from services.pusher.admission.messages import response_of
from services.pusher.admission.settings import AdmissionSettings
from services.pusher.log.group_commit import NOBODY, Committed, Push, RulesInForce, WriteQueue, not_stored
from services.pusher.log.store import Appended, StoreFullError
from services.shared.cores import Tick
from services.shared.rules import Rules, RulesHistory
from tests.simulator.checkers import Violation
from tests.simulator.messages import PushRequest
from tests.simulator.network import End
from tests.simulator.pusher_rules import Calendar
from tests.simulator.toy_rules import month_text
from tests.simulator.toy_tree import POST, RULE, Update, real

if TYPE_CHECKING:
    from tests.simulator.pusher_process import PusherProcess

UPDATE_BYTES = 200
DRAIN_S = 0.4
#: So often the calendar is looked at.
LOOK_S = 5.0


@dataclass
class PushLink:
    """One client's stream: messages wait in it until they may be read."""

    end: End
    may_read: bool = True
    inbox: deque[PushRequest] = field(default_factory=deque)


class PushDesk:
    """Everybody who pushes. Nothing in it survives a crash."""

    core: Admission[Update]

    def __init__(self, pusher: PusherProcess, settings: AdmissionSettings, group_updates_max: int) -> None:
        self.pusher = pusher
        self._settings = settings
        self._group_updates_max = group_updates_max
        self._streams = itertools.count(1)
        self._links: dict[int, PushLink] = {}
        #: For the checker: how many updates the log was given by each push, and has said nothing of.
        self._in_log: dict[int, int] = {}
        #: For the checker: the last word of each node on its present stream, and who had everything since it began.
        self._confirmed: dict[str, int] = {}
        self._in_step: set[str] = set()

    def start(self) -> None:
        """A new life of the pusher."""
        self.core = Admission(self._settings, position=len(self.pusher.log))
        store = self.pusher.store
        self._calendar = Calendar(self.pusher.clock)
        self.door = RulesInForce(
            RulesHistory(store.rule_records()), store.find, real, self._calendar.due, self._calendar.untimely
        )
        self._writes: WriteQueue[Update, None] = WriteQueue(self._group_updates_max, self.door)
        self._writing = False
        #: The last seal could not be written: one other write may go before it.
        self._seal_failed = False
        self._look()
        self._links.clear()
        self._in_log.clear()
        self._confirmed.clear()
        self._in_step.clear()

    def _look(self) -> None:
        """Has the calendar looked at, though nobody pushes."""
        self.pusher.timer(LOOK_S, self._look)
        self._writes.put(None)
        self._write()

    def accept(self, end: End) -> None:
        """A client's stream."""
        number, link = next(self._streams), PushLink(end)
        self._links[number] = link

        def take(request: PushRequest) -> None:
            link.inbox.append(request)
            self._read(number, link)

        def lose(_: str) -> None:
            self._links.pop(number, None)
            self.handle(events.StreamGone(number))

        end.on_message, end.on_end = take, lose
        self.handle(events.StreamOpened(number))

    def _read(self, number: int, link: PushLink) -> None:
        if link.may_read and link.inbox:
            link.may_read = False
            self.handle(events.Pushed(number, _batch_of(link.inbox.popleft(), self.door.rules)))

    def drain(self, drained: Callable[[], None]) -> None:
        """Gives the receipts that are owed; `drained` when it has, or when the time for it is over."""
        self.handle(events.Drain())
        self.pusher.timer(DRAIN_S, drained)

    # ---- the core

    def tick(self) -> None:
        """Time has passed."""
        self.handle(Tick())

    def handle(self, event: events.AdmissionEvent[Update]) -> None:
        """Tells the core, and does what it asks for."""
        actions = self.core.handle(event, self.pusher.clock.now())
        self.core.validate()
        for action in actions:
            match action:
                case events.Append():
                    self._append(action)
                case events.ReadOn(stream):
                    self._links[stream].may_read = True
                    self.pusher.timer(0.0, self._read, stream, self._links[stream])
                case events.Respond():
                    self._respond(action)
                case events.EndStream(stream, why):
                    self._links.pop(stream).end.close(why.value)

    def _respond(self, action: events.Respond[Update]) -> None:
        for answer in action.answers:
            self._check(answer)
        self._links[action.stream].end.send(response_of(action.answers))
        taken_s = 0.0005 * self.pusher.world.random.random()
        self.pusher.timer(taken_s, self.handle, events.ResponseTaken(action.stream))

    # ---- the log

    def _append(self, action: events.Append[Update]) -> None:
        push = action.push
        self._in_log[push.number] = len(push.update_ids)
        if sum(self._in_log.values()) > self._settings.push_updates_max and len(self._in_log) > 1:
            raise Violation(f"budget: {self._in_log} wait for the disk, {self._settings.push_updates_max} may")
        self._writes.put(push)
        self._write()

    def _write(self) -> None:
        if self._writing or not self._writes:
            return
        group = self._writes.next()
        if group is None:
            self._write()
            return
        self._check_overdue(group)
        self._writing = True
        done: list[Committed] = []

        def change() -> None:
            _, results = self._writes.commit(group, self.pusher.store.append)
            done.append(Committed(results))

        self.sync(change, lambda ok: self._written(done if ok else [self._refused(group)]))

    def _refused(self, group: list[Push[Update]]) -> Committed:
        return Committed(not_stored(group, StoreFullError("the disk is full")))

    def sync(self, change: Callable[[], None], done: Callable[[bool], None]) -> None:
        """Makes the change durable, then goes on."""
        self.pusher.disk.commit(change, done)

    def _written(self, done: list[Committed]) -> None:
        self._writing = False
        for committed in done:
            for number, _ in committed.results:
                self._in_log.pop(number, None)
            if committed.results and committed.results[0][0] == NOBODY:
                self._seal_failed = not isinstance(committed.results[0][1], Appended)
            else:
                self.handle(committed)
        self.spread()
        self._write()

    def _check_overdue(self, group: list[Push[Update]]) -> None:
        """Nothing is written behind a month's last day before its seal."""
        if group[0].number == NOBODY or self._seal_failed:
            self._seal_failed = False
        elif overdue := self._calendar.overdue(self.door.rules):
            seals = [update.update_id for update in overdue]
            raise Violation(f"late: {group[0].update_ids} are written before {seals}")

    def spread(self) -> None:
        """Tells the fan-out how far the log goes."""
        if len(self.pusher.log) > self.pusher.replication.position:
            self.pusher.appended(len(self.pusher.log))

    # ---- checks from outside

    def _check(self, answer: events.Answer[Update]) -> None:
        """What is told as stored is on the disk, and what is told as confirmed is on the nodes."""
        if not isinstance(answer.result, Appended):
            return
        for update, position in zip(answer.batch.contents, answer.result.positions, strict=True):
            if position and not self.pusher.store.holds(position, update):
                raise Violation(f"acknowledged: {update} at {position}, which is not on the disk")
        if answer.confirmed and answer.batch.ack_range is not None:
            self._check_reached(max(answer.result.positions), answer.batch.ack_range)

    def _check_reached(self, position: int, ack_range: AckRange) -> None:
        """A node has it; where all healthy nodes were asked for, each that was in step on its present stream has it."""
        if self.pusher.history.applied_position < position:
            raise Violation(f"acknowledged: {position} as on a node, but no node has applied it")
        if ack_range is AckRange.ALL_NODES:
            positions = {name: self._confirmed.get(name, 0) for name in self._in_step}
            # One without anything is no longer in step once an import is in force: it waits for that.
            imported = self.pusher.rollout.in_force > 0
            healthy = {name: position for name, position in positions.items() if position or not imported}
            if not healthy or min(healthy.values()) < position:
                raise Violation(f"acknowledged: {position} as on all healthy nodes; those are at {healthy}")

    def heard(self, name: str, position: int) -> None:
        """Keeps what the node said, and whether it was in step on this stream."""
        self._confirmed[name] = position
        if position >= self.pusher.replication.position:
            self._in_step.add(name)

    def lost_stream(self, name: str) -> None:
        """Forgets what was said on a stream that is over."""
        self._confirmed.pop(name, None)
        self._in_step.discard(name)


def _batch_of(request: PushRequest, rules: Rules) -> Batch[Update]:
    sound = [update for update in request.updates if update.update_id]
    malformed = {at: Malformed("", "has no id") for at, update in enumerate(request.updates) if not update.update_id}
    ids = [update.update_id for update in sound]
    to_judge = any(
        update.kind == RULE or (update.kind == POST and ("", month_text(update.name)) not in rules.orders)
        for update in sound
    )
    size_bytes = UPDATE_BYTES * len(sound)
    return Batch(len(request.updates), ids, sound, size_bytes, request.ack_range, malformed, rules, to_judge)
