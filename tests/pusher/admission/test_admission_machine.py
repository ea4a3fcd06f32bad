"""The admission core under random events, against the plainest model of a log, its clients and its nodes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.pusher.admission.acks import AckRange
from services.pusher.admission.admission import Admission
from services.pusher.admission.batch import Batch, Malformed
from services.pusher.admission.events import (
    AdmissionEvent,
    Answer,
    Append,
    Drain,
    EndStream,
    Pushed,
    ReadOn,
    RequestsEnded,
    Respond,
    ResponseTaken,
    StreamEnd,
    StreamGone,
    StreamOpened,
)
from services.pusher.admission.settings import AdmissionSettings
from services.pusher.fanout.events import NodeConfirmed, NodeStands
from services.pusher.log.engine.placing import place
from services.pusher.log.group_commit import AppendProblem, Committed, NotStored
from services.pusher.log.store import Appended
from services.shared.cores import Tick
from tests.scenarios.driver import hold_to_deadline

STREAM_MAX, ALL_MAX, TIMEOUT_S = 6, 10, 5.0
#: So few that each of them gets far.
STREAMS_MAX = 3
NODES = ("a:1", "b:1")
node_names = st.sampled_from(NODES)
numbers = st.integers(0, 5)


class Client:
    """What one stream has sent, and what it was told."""

    def __init__(self, opened_until_s: float | None) -> None:
        self.until_s = opened_until_s
        self.may_read = True
        self.sent: list[Batch[str]] = []
        self.answered = 0
        self.responding = False
        self.ended: StreamEnd | None = None


class AdmissionMachine(RuleBasedStateMachine):
    """Streams that push and go, a log that stores and fails, nodes that confirm, and a pusher that drains at last."""

    @initialize()
    def begin(self) -> None:
        self.now_s, self.ids, self.streams, self.draining = 0.0, 0, 0, False
        limits = AdmissionSettings(
            push_stream_updates_max=STREAM_MAX, push_updates_max=ALL_MAX, ack_timeout_s=TIMEOUT_S
        )
        self.core: Admission[str] = Admission(limits, position=0)
        self.clients: dict[int, Client] = {}
        #: The durable log: position and content of each id.
        self.log: dict[str, tuple[int, str]] = {}
        #: Every batch that was pushed, and when the log was told to have it, by the batch's `id`.
        self.pushed: list[Batch[str]] = []
        self.stored_at_s: dict[int, float] = {}
        #: Handed to the log and not answered by it, in order.
        self.in_log: dict[int, Batch[str]] = {}
        self.confirmed: dict[str, int] = dict.fromkeys(NODES, 0)
        self.healthy: dict[str, int] = {}

    def cost_in_log(self) -> int:
        return sum(batch.cost for batch in self.in_log.values())

    def feed(self, event: AdmissionEvent[str]) -> None:
        for action in self.core.handle(event, self.now_s):
            match action:
                case Append(push):
                    assert push.number > max(self.in_log, default=0)
                    given = next(each for each in self.pushed if each.update_ids is push.update_ids)
                    self.in_log[push.number] = given
                    assert self.cost_in_log() <= ALL_MAX or len(self.in_log) == 1, "more wait for the log than may"
                case ReadOn(stream):
                    assert not self.clients[stream].may_read, "a stream may be read from twice"
                    self.clients[stream].may_read = True
                case Respond(stream, answers):
                    self.respond(self.clients[stream], answers)
                case EndStream(stream, why):
                    self.end(self.clients.pop(stream), why)
        self.core.validate()
        hold_to_deadline(self.core, self.now_s)

    # -- what may be told

    def respond(self, client: Client, answers: Sequence[Answer[str]]) -> None:
        assert answers
        assert not client.responding, "two responses are under way"
        client.responding = True
        for answer in answers:
            assert answer.batch is client.sent[client.answered], "a receipt out of order"
            client.answered += 1
            if isinstance(answer.result, Appended):
                self.check(client, answer, answer.result)

    def check(self, client: Client, answer: Answer[str], result: Appended) -> None:
        for update_id, content, position in zip(
            answer.batch.update_ids, answer.batch.contents, result.positions, strict=True
        ):
            assert not position or self.log.get(update_id) == (position, content), "told before it is durable"
        last_position = max(result.positions, default=0)
        if answer.batch.ack_range is None or not last_position:
            assert answer.confirmed is None
        elif answer.confirmed:
            assert self.enough(last_position, answer.batch.ack_range), "not confirmed, and told as confirmed"
        else:
            until_s = self.stored_at_s[id(answer.batch)] + TIMEOUT_S
            assert self.now_s >= min(until_s, until_s if client.until_s is None else client.until_s), "too early"

    def enough(self, position: int, ack_range: AckRange) -> bool:
        if ack_range is AckRange.ONE_NODE:
            return max(self.confirmed.values()) >= position
        return bool(self.healthy) and min(self.healthy.values()) >= position

    def end(self, client: Client, why: StreamEnd) -> None:
        client.ended = why
        assert not client.responding
        if why in (StreamEnd.DONE, StreamEnd.TOO_MANY_UPDATES):
            assert client.answered == len(client.sent), "it ended before everything had its receipts"
        assert (why is StreamEnd.DRAINING) <= self.draining

    # -- clients

    @rule(call_s=st.none() | st.floats(0.5, 20.0))
    def open(self, call_s: float | None) -> None:
        if len(self.clients) == STREAMS_MAX:
            return
        self.streams += 1
        until_s = None if call_s is None else self.now_s + call_s
        self.clients[self.streams] = Client(until_s)
        self.feed(StreamOpened(self.streams, until_s))

    def one(self, number: int) -> tuple[int, Client] | None:
        streams = list(self.clients.items())
        return streams[number % len(streams)] if streams else None

    @rule(
        number=numbers,
        fresh=st.integers(0, 8),
        again=st.integers(0, 2),
        other=st.booleans(),
        malformed=st.booleans(),
        ack_range=st.none() | st.sampled_from(list(AckRange)),
        bytes_each=st.sampled_from([10, 10, 1500]),
    )
    def push(
        self, number: int, fresh: int, again: int, other: bool, malformed: bool, ack_range: AckRange | None,
        bytes_each: int,
    ) -> None:  # fmt: skip
        """New updates, some that were pushed before, one of those maybe with other content, and a malformed one."""
        found = self.one(number)
        if found is None or not found[1].may_read:
            return
        stream, client = found
        ids = [f"u{self.ids + each}" for each in range(fresh)] + [f"u{each}" for each in range(min(again, self.ids))]
        self.ids += fresh
        contents = [update_id + ("!" if other and at == fresh else "") for at, update_id in enumerate(ids)]
        updates = len(ids) + malformed
        wrong = {len(ids): Malformed("?", "it is not")} if malformed else {}
        batch = Batch(updates, ids, contents, bytes_each * len(ids), ack_range, wrong)
        client.may_read = False
        client.sent.append(batch)
        self.pushed.append(batch)
        self.feed(Pushed(stream, batch))

    @rule(number=numbers)
    def push_too_many(self, number: int) -> None:
        found = self.one(number)
        if found is not None and found[1].may_read:
            found[1].may_read = False
            self.feed(Pushed(found[0], Batch(1001, [], [], 0, None, {})))

    @rule(number=numbers)
    def end_requests(self, number: int) -> None:
        found = self.one(number)
        if found is not None and found[1].may_read:
            found[1].may_read = False
            self.feed(RequestsEnded(found[0]))

    @rule(number=numbers)
    def take_response(self, number: int) -> None:
        found = self.one(number)
        if found is not None and found[1].responding:
            found[1].responding = False
            self.feed(ResponseTaken(found[0]))

    @rule(number=numbers)
    def go(self, number: int) -> None:
        found = self.one(number)
        if found is not None:
            del self.clients[found[0]]
            self.feed(StreamGone(found[0]))

    # -- the log

    @rule(pushes=st.integers(1, 4))
    def store(self, pushes: int) -> None:
        """One commit of the oldest pushes, as group commit makes it."""
        results: list[tuple[int, Appended | NotStored]] = []
        for number in list(self.in_log)[:pushes]:
            batch = self.in_log.pop(number)
            placed = place(batch.update_ids, batch.contents, self.log, len(self.log) + 1)
            self.stored_at_s[id(batch)] = self.now_s
            results.append((number, Appended(None, placed.positions, placed.duplicates, placed.conflicts)))
        if results:
            self.feed(Committed(results))
            assert not self.core.full

    @rule(pushes=st.integers(1, 4), problem=st.sampled_from(AppendProblem))
    def fail(self, pushes: int, problem: AppendProblem) -> None:
        failed = list(self.in_log)[:pushes]
        for number in failed:
            del self.in_log[number]
        if failed:
            self.feed(Committed([(number, NotStored(problem, OSError("no"))) for number in failed]))
            assert bool(self.core.full) == (problem is AppendProblem.FULL)

    # -- nodes and time

    @rule(node=node_names, further=st.integers(1, 6))
    def confirm(self, node: str, further: int) -> None:
        self.confirmed[node] = min(self.confirmed[node] + further, len(self.log))
        if node in self.healthy:
            self.healthy[node] = self.confirmed[node]
        self.feed(NodeConfirmed(node, self.confirmed[node]))

    @rule(node=node_names, healthy=st.booleans())
    def stand(self, node: str, healthy: bool) -> None:
        self.healthy.pop(node, None)
        if healthy:
            self.healthy[node] = self.confirmed[node]
        self.feed(NodeStands(node, healthy, healthy, self.confirmed[node], 0))

    @rule(seconds=st.floats(0.1, 4.0))
    def wait(self, seconds: float) -> None:
        """A shell sleeps no longer than the core lets it."""
        until_s = self.now_s + seconds
        while self.core.deadline_s is not None and self.core.deadline_s <= until_s:
            self.now_s = max(self.now_s, self.core.deadline_s)
            self.feed(Tick())
        self.now_s = until_s
        self.feed(Tick())

    @rule(earnest=st.integers(0, 9))
    def drain(self, earnest: int) -> None:
        if not earnest:  # seldom: nothing is read any more
            self.draining = True
            self.feed(Drain())

    # -- what holds

    @invariant()
    def budgets_are_exact(self) -> None:
        if hasattr(self, "core"):
            assert self.core.budget.taken == self.cost_in_log()
            for number, client in self.clients.items():
                # What was sent last is not admitted yet where reading is held.
                owed = [batch.cost for batch in client.sent[client.answered :]]
                assert self.core.streams[number].budget.taken in (sum(owed), sum(owed[:-1]))
                assert sum(owed[:-1]) <= STREAM_MAX or len(owed) <= 2

    def teardown(self) -> None:
        """Everything is answered in the end: the log stores, time passes, and clients take what they are sent."""
        if not hasattr(self, "core"):
            return
        self.settle()  # what a receipt that is due lets in has to be stored, too
        while self.in_log:
            self.store(4)
            self.settle()
        for client in self.clients.values():
            assert client.may_read or self.draining or client.answered == len(client.sent), "reading is held for good"
            assert self.draining or client.answered == len(client.sent), "a batch has no receipts"
        assert self.core.budget.taken == 0

    def settle(self) -> None:
        while True:
            self.wait(TIMEOUT_S)
            responding = [stream for stream, client in self.clients.items() if client.responding]
            for stream in responding:
                if stream in self.clients:
                    self.clients[stream].responding = False
                    self.feed(ResponseTaken(stream))
            if not responding:
                return


TestAdmission = AdmissionMachine.TestCase
TestAdmission.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
