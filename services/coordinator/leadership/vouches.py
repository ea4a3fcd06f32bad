"""Vouches for a primary while no coordinator may be active: `election/vouching.py` has the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from fasttree.v1 import coordinator_pb2
from services.coordinator.election.events import Recorded
from services.coordinator.election.vouching import vouched_s
from services.coordinator.stores.store import StoreError
from services.shared.security.guard import name_problem
from services.shared.serving.errors import PermissionDeniedError, ResourceExhaustedError


class ReadsAnew(Protocol):
    """The record that coordinators share; see LeaseStore."""

    async def read_anew(self) -> Recorded: ...


class Vouches:
    """Answers primaries' questions, each after a look at the record of its own.

    Args:
        cluster: The cluster's name: for another one's nodes nobody vouches.
        askers_max: Streams at a time.
    """

    def __init__(self, store: ReadsAnew, cluster: str, askers_max: int) -> None:
        self._store, self._cluster, self._askers_max = store, cluster, askers_max
        self._askers = 0

    async def answers(
        self, questions: AsyncIterator[coordinator_pb2.VouchPrimaryRequest], names: tuple[str, ...]
    ) -> AsyncIterator[coordinator_pb2.VouchPrimaryResponse]:
        """One to each question. `names`: of whoever asks. Raises ResourceExhaustedError, and PermissionDeniedError
        where he asks for another node than his certificate's."""
        if self._askers >= self._askers_max:
            raise ResourceExhaustedError(f"{self._askers} ask already whether they are primary, and one is: ask later")
        self._askers += 1
        try:
            async for question in questions:
                if problem := name_problem(names, "node", question.node):
                    raise PermissionDeniedError(problem, reason="NAME_NOT_OWN", field="node", value=question.node)
                lease_s = await self._vouched_s(question)
                yield coordinator_pb2.VouchPrimaryResponse(sequence=question.sequence, lease_ms=int(lease_s * 1_000))
        finally:
            self._askers -= 1

    async def _vouched_s(self, question: coordinator_pb2.VouchPrimaryRequest) -> float:
        if question.cluster != self._cluster:
            return 0.0
        try:
            recorded = await self._store.read_anew()
        except StoreError:
            return 0.0
        return vouched_s(recorded, question.node, question.incarnation, question.epoch)
