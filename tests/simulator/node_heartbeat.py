"""A simulated node's heartbeats, as `services/treenode/heartbeat.py` sends them: some while the node is busy, with its
word of before."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from services.coordinator.election.events import Answer, Heartbeat, NodeState, Role
from services.treenode.node.role import HeartbeatSent, LeaseAnswered, OthersReady
from tests.simulator.network import End

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess

RECONNECT_S = (0.05, 0.7)
#: A coordinator that answers nothing for so many heartbeats is asked anew over another stream.
UNANSWERED_MAX = 8
#: How many heartbeats leave while the node is busy.
BUSY_SHARE = 0.1


class Heartbeats:
    """Keeps a stream to the coordinator, for one life of a node."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._sequence = 0
        self._stream: End | None = None
        self._unanswered = 0
        #: The last word that the node said of itself, and when; None before the first.
        self._word: tuple[Heartbeat, float] | None = None
        # Of its own, so that the rest of a seed's story does not hang on it.
        self._random = random.Random(f"{node.name} {node.life}")

    def start(self) -> None:
        """The first one, and all after it."""
        self._connect()
        self._beat_again()

    def _connect(self) -> None:
        node = self._node
        end = node.network.connect(node, node.cluster.coordinator, "keepalive")
        end.on_message = self._answered
        end.on_end = self._lost
        self._stream = end
        self._unanswered = 0
        self.beat()

    def _lost(self, _reason: str) -> None:
        self._stream = None
        self._node.timer(self._node.world.random.uniform(*RECONNECT_S), self._connect)

    def _beat_again(self) -> None:
        self._node.timer(self._node.times.heartbeat_s, self._beat_again)
        self.beat()

    def beat(self) -> None:
        """One heartbeat; the core is told before it leaves."""
        end, node = self._stream, self._node
        if end is None:
            return
        if self._unanswered >= UNANSWERED_MAX:
            end.close()
            self._lost("no answer")
            return
        self._sequence += 1
        self._unanswered += 1
        now_s = node.clock.now()
        if self._word is None or self._random.random() >= BUSY_SHARE:
            node.handle(HeartbeatSent(self._sequence))
            self._word = (self._stands(), now_s)
        else:
            node.handle(HeartbeatSent(self._sequence, now_s, self._word[1]))
        end.send(replace(self._word[0], sequence=self._sequence))

    def _stands(self) -> Heartbeat:
        node, core = self._node, self._node.core
        return Heartbeat(
            node=node.name,
            incarnation=node.incarnation,
            sequence=self._sequence,
            state=NodeState(core.state),
            import_id=core.sequence.import_id,
            position=core.sequence.position,
            primary_epoch=core.role.primary_epoch,
            known_epoch=core.role.epoch,
            log_id=core.sequence.log_id,
        )

    def _answered(self, answer: Answer) -> None:
        self._unanswered = 0
        node = self._node
        others = answer.others_ready
        told = None if others is None else OthersReady(others.complete, others.import_id, others.position)
        node.handle(LeaseAnswered(answer.sequence, answer.role is Role.PRIMARY, answer.epoch, answer.lease_s, told))
        node.reign.saw_epoch(node.name, node.core.role.epoch)
