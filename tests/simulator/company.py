"""The company behind the tree: it exports its own truth as import files, some of them bad, and operates the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.pusher.imports.history import ImportProblem
from tests.simulator.clients import MEMBERS
from tests.simulator.messages import UploadRequest
from tests.simulator.network import End
from tests.simulator.toy_rules import month_of
from tests.simulator.toy_tree import ImportFile
from tests.simulator.world import Clock, Process

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

#: How long an export takes at most; now and then one takes long, and the next one may overtake it.
EXPORT_S, LONG_EXPORT_S = 3.0, 15.0


class Company(Process):
    """Uploads imports until it has their ids; asks for switchovers and pauses."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.world, "company", Clock(cluster.world, 0.0, 1.0))
        self._cluster = cluster
        #: Uploads without an answer.
        self.pending = 0
        self.uploads = 0
        self._as_of_before = 0
        self._exports = 0

    def export(self, *, sound: bool, upload_s: float = 0.0) -> None:
        """Begins an export: asks the pusher for the log's end, and uploads a little later, or after `upload_s`."""
        pusher = self._cluster.pusher
        if not pusher.alive or pusher.frozen or not self._cluster.network.reachable(self.name, pusher.name):
            return
        random = self.world.random
        in_force = pusher.rollout.in_force
        # Exports don't overtake each other: each one's position is at or after the one before.
        as_of = max(len(pusher.log) - random.choice((0, 0, 1, 3)), self._as_of_before)
        if in_force and as_of < pusher.imports[in_force].as_of_position:
            return
        self._as_of_before = as_of
        tree = self._cluster.history.replay_log(pusher.log, pusher.imports, in_force, as_of)
        current = month_of(tree.rules.current_period)
        members = {
            member: (tuple((month if month != current else 0, amount) for month, amount in volumes), status)
            for member, (volumes, status) in tree.members.items()
        }
        for _ in range(random.randint(0, 3)):
            # Members that the pusher never heard of, and members that left.
            members.setdefault(random.randrange(MEMBERS), (((0, random.randint(0, 500)),), 0))
        if members and random.random() < 0.3:
            del members[random.choice(sorted(members))]
        self.pending += 1
        self._exports += 1
        self.world.after(
            upload_s or (LONG_EXPORT_S if random.random() < 0.3 else EXPORT_S) * random.random(),
            self._upload,
            UploadRequest(ImportFile(members, sound, self._exports, in_force, tuple(tree.held)), as_of),
        )

    def _upload(self, request: UploadRequest) -> None:
        end = self._cluster.network.connect(self, self._cluster.pusher, "upload", request)
        answered: list[int] = []
        end.on_message = answered.append
        end.on_end = lambda reason: self._upload_ended(request, answered, reason)

    def _upload_ended(self, request: UploadRequest, answered: list[int], reason: str) -> None:
        if answered or reason in ImportProblem.__members__:
            self.pending -= 1
            self.uploads += len(answered)
        else:
            self.world.after(0.3 + self.world.random.random(), self._upload, request)

    def forget(self) -> None:
        """The log that exports were taken at is gone."""
        self._as_of_before = 0

    def roll_back(self) -> None:
        """Asks for the import before the one in force; asks once, whatever becomes of it."""
        self._cluster.network.connect(self, self._cluster.pusher, "rollback")

    def operate(self, wish: str, node: str = "") -> End:
        """Asks the coordinator for a switchover, a pause, or to go on."""
        return self._cluster.network.connect(self, self._cluster.coordinator, "operate", (wish, node))
