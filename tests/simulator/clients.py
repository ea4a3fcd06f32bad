"""Those who push: with ids of their own, again after a break, sometimes twice on purpose.

A client keeps what it pushed until it has a receipt, and pushes that again, in order, on the next stream. Now and then
it pushes an update that was acknowledged long ago (a spool folder restored from a backup), or a new one under an old
id, which the pusher has to refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.rpc import code_pb2

from fasttree.v1.pusher_pb2 import PushUpdatesResponse, Receipt
from services.pusher.admission.acks import AckRange
from tests.simulator.checkers import History, Violation
from tests.simulator.messages import PushRequest
from tests.simulator.network import End, Network
from tests.simulator.toy_rules import month_of
from tests.simulator.toy_tree import BAN, ENROL, MARK, POISON, POST, REMOVE, RULE, Update
from tests.simulator.world import Clock, Process, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulator.pusher_process import PusherProcess

MEMBERS = 30
RECONNECT_S = (0.05, 0.8)
#: What is acknowledged and kept to be pushed again.
KEPT_MAX = 50
#: Columns that updates name, declared or not.
COLUMNS = 6
_ACK_RANGES = (None, None, None, AckRange.ONE_NODE, AckRange.ALL_NODES)
_MALFORMED = Update("", POST, 0, 0)


class Client(Process):
    """Pushes single updates and small batches over one stream."""

    def __init__(
        self,
        world: World,
        network: Network,
        number: int,
        pusher: PusherProcess,
        history: History,
        acknowledged: Callable[[int], None],
    ) -> None:
        super().__init__(world, f"client-{number}", Clock(world, 0.0, 1.0))
        self._network = network
        self._pusher = pusher
        self._history = history
        self._acknowledged = acknowledged
        self._count = 0
        self._end: End | None = None
        self._connecting = False
        #: Batches without receipts, oldest first: what the next stream begins with.
        self.waiting: list[PushRequest] = []
        #: How many of those were sent on this stream.
        self._sent = 0
        self._kept: list[tuple[int, Update]] = []
        #: The position of each update that has its receipt.
        self._positions: dict[str, int] = {}
        self.refused = 0
        #: What the rules did not take.
        self._refused: list[Update] = []

    def push(self) -> None:
        """Pushes a batch of fresh updates; now and then an old one again, or a forged one."""
        random = self.world.random
        updates = [self._fresh() for _ in range(random.choice((1, 1, 1, 2, 5)))]
        if self._refused and random.random() < 0.3:
            updates.append(self._refused.pop(random.randrange(len(self._refused))))
        if self._kept and random.random() < 0.15:
            old = random.choice(self._kept)[1]
            updates.append(old if random.random() < 0.8 else old._replace(value=old.value + 1))
        if random.random() < 0.05:
            updates.insert(random.randrange(len(updates) + 1), _MALFORMED)
        self.waiting.append(PushRequest(tuple(updates), random.choice(_ACK_RANGES)))
        self._pump()

    def poison(self, *, midway: bool) -> str:
        """Pushes an update that every engine fails at; its id."""
        self._count += 1
        update = Update(f"{self.name}-{self._count}", POISON, 0, int(midway))
        self.waiting.append(PushRequest((update,), None))
        self._pump()
        return update.update_id

    def say(self, update: Callable[[str], Update]) -> None:
        """Pushes the update that has this name."""
        self._count += 1
        self.waiting.append(PushRequest((update(f"{self.name}-{self._count}"),), None))
        self._pump()

    def forget(self, last: int = 0) -> None:
        """The log that has its updates is gone, from behind `last` on: nothing of that is pushed again."""
        self._kept = [kept for kept in self._kept if kept[0] <= last]
        self._positions = {update_id: at for update_id, at in self._positions.items() if at <= last}

    def on_start(self) -> None:
        """Nothing: it connects with its first push."""

    def _fresh(self) -> Update:
        random = self.world.random
        self._count += 1
        kind = random.choices((POST, MARK, ENROL, BAN, REMOVE), (66, 12, 15, 3, 4))[0]
        value = random.randint(1, 9999) if kind in (POST, MARK) else 0
        name = 0
        if kind == POST and random.random() < 0.4:
            # One that takes orders, one that does not any more, or not yet.
            newest = month_of(self._pusher.desk.door.rules.current_period)
            name = max(1, newest + random.choice((1, 0, 0, -1, -1, -2, -3)))
        elif kind == MARK and random.random() < 0.5:
            name = random.randint(1, COLUMNS)
        elif kind == REMOVE:
            value = random.choice((0, 0, 1, 2))
        return Update(f"{self.name}-{self._count}", kind, random.randrange(MEMBERS), value, name)

    def _pump(self) -> None:
        if self._end is None:
            if not self._connecting and self.waiting:
                self._connecting = True
                self.world.after(self.world.random.uniform(*RECONNECT_S), self._connect)
            return
        for request in self.waiting[self._sent :]:
            self._end.send(request)
        self._sent = len(self.waiting)

    def _connect(self) -> None:
        self._connecting = False
        self._sent = 0
        self._end = self._network.connect(self, self._pusher, "push")
        self._end.on_message = self._responded
        self._end.on_end = self._ended
        self._pump()

    def _ended(self, _reason: str) -> None:
        self._end = None
        self._pump()

    def _responded(self, response: PushUpdatesResponse) -> None:
        receipts = list(response.receipts)
        while receipts:
            request = self.waiting.pop(0)
            self._sent -= 1
            own, receipts = receipts[: len(request.updates)], receipts[len(request.updates) :]
            if len(own) != len(request.updates):
                raise Violation(f"receipts: {self.name} pushed {len(request.updates)} updates and got {len(own)}")
            self._take_receipts(request, own)

    def _take_receipts(self, request: PushRequest, receipts: list[Receipt]) -> None:
        again: list[Update] = []
        for update, receipt in zip(request.updates, receipts, strict=True):
            if receipt.update_id != update.update_id:
                raise Violation(f"receipts: {self.name} got {receipt.update_id} for {update.update_id}")
            if (receipt.code == code_pb2.INVALID_ARGUMENT) != (update is _MALFORMED):
                raise Violation(f"receipts: {self.name} got code {receipt.code} for {update}")
            match receipt.code:
                case code_pb2.OK:
                    self._taken(update, receipt)
                case code_pb2.FAILED_PRECONDITION:
                    self._check_free(update)
                case code_pb2.ALREADY_EXISTS:
                    self._check_refusal(update)
                case code_pb2.DATA_LOSS if update.update_id in self._positions:
                    pass  # the record that it has is damaged: there is no more to be had
                case code_pb2.DATA_LOSS | code_pb2.RESOURCE_EXHAUSTED | code_pb2.UNAVAILABLE:
                    again.append(update)
        if again:
            self.refused += len(again)
            self.world.after(0.5, self._push_again, PushRequest(tuple(again), request.ack_range))

    def _push_again(self, request: PushRequest) -> None:
        self.waiting.append(request)
        self._pump()

    def _taken(self, update: Update, receipt: Receipt) -> None:
        self._history.acknowledge(receipt.position, update, self.name)
        self._acknowledged(receipt.position)
        self._positions[update.update_id] = receipt.position
        if len(self._kept) < KEPT_MAX:
            self._kept.append((receipt.position, update))
        elif self.world.random.random() < 0.1:
            self._kept[self.world.random.randrange(KEPT_MAX)] = (receipt.position, update)

    def _check_free(self, update: Update) -> None:
        """What the rules refuse takes no position and uses up no id: later on it may be pushed again."""
        if update.kind not in (POST, RULE):
            raise Violation(f"door: {self.name} was refused {update}, of which the rules say nothing")
        if update.update_id in self._positions:
            raise Violation(f"door: {self.name} was refused {update}, which it has a receipt for")
        if update.kind == POST and len(self._refused) < KEPT_MAX:
            self._refused.append(update)

    def _check_refusal(self, update: Update) -> None:
        if (update.update_id, update) in ((old.update_id, old) for _, old in self._kept):
            raise Violation(f"twice: {self.name} was refused {update.update_id}, which it had pushed with that content")
