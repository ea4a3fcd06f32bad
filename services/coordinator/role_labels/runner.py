"""Keeps the pods' labels true: looks at each change of the cluster, and again and again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from services.coordinator.election.runner import CoreRunner
from services.coordinator.role_labels.labels import LABEL, STANDBY, Pod, Roles, corrections
from services.shared.backoff import Backoff, Waits
from services.shared.domain.addresses import Host
from services.shared.kubernetes.api import KubernetesApi, KubernetesError

logger = logging.getLogger(__name__)

_SELECTOR = "app.kubernetes.io/name=fasttree"
#: Without a change the labels are looked at this often, in seconds; after one, not sooner than this.
_CHECK_S = 5.0
_PAUSE_S = 0.05
_GONE = 404


class RoleLabels:
    """The labels of one cluster's pods.

    Args:
        api: The API server.
        election: Who is primary.
        hosts: The nodes, as they are listed.
        own_pod: This coordinator's.
    """

    def __init__(
        self, api: KubernetesApi, election: CoreRunner, hosts: Callable[[], tuple[Host, ...]], own_pod: str
    ) -> None:
        self._api = api
        self._election = election
        self._hosts = hosts
        self._own_pod = own_pod
        #: Why they can't be looked at now; empty where they can.
        self.problem = ""

    async def run(self) -> None:
        """Until it is cancelled."""
        waits = Waits(Backoff(0.2, _CHECK_S, random.random))
        try:
            while True:
                seen, wait_s = self._election.changes, _CHECK_S
                try:
                    await self._settle()
                    waits.reset()
                    self.problem = ""
                except KubernetesError as error:
                    if str(error) != self.problem:
                        logger.error("the pods' role labels stay as they are: %s", error)
                    self.problem, wait_s = str(error), waits.next_s()
                await asyncio.sleep(_PAUSE_S)
                await self._election.wait_changed(seen, wait_s)
        finally:
            await self._api.close()

    async def _settle(self) -> None:
        path = f"/api/v1/namespaces/{self._api.namespace}/pods"
        listed = await self._api.get(path, {"labelSelector": _SELECTOR})
        pods = [pod for each in listed.get("items") or () if (pod := _pod_of(each))]
        for pod in corrections(pods, self._roles()):
            if not self._election.may_act() or pod not in corrections(pods, self._roles()):
                return  # the roles have changed meanwhile: all is looked at anew
            try:
                await self._api.patch(f"{path}/{pod.name}", {"metadata": {"labels": {LABEL: pod.role}}})
            except KubernetesError as error:
                if error.status != _GONE:
                    raise
                continue
            logger.info("%s: %s=%s", pod.name, LABEL, pod.role)

    def _roles(self) -> Roles:
        core = self._election.core
        primary = core.leases.get(core.seat.primary)
        return Roles(
            nodes=frozenset(_pod_name(host.host) for host in self._hosts()),
            primary=_pod_name(primary.last.address) if primary is not None else "",
            coordinator=self._own_pod,
        )


async def label_standby(api: KubernetesApi, own_pod: str) -> None:
    """Takes the label of an active coordinator from this pod, once: a process before may have left it there."""
    waits = Waits(Backoff(0.2, _CHECK_S, random.random))
    try:
        while True:
            try:
                path = f"/api/v1/namespaces/{api.namespace}/pods/{own_pod}"
                await api.patch(path, {"metadata": {"labels": {LABEL: STANDBY}}})
            except KubernetesError as error:
                logger.warning("this pod's role label stays as it is: %s", error)
                await asyncio.sleep(waits.next_s())
            else:
                return
    finally:
        await api.close()


def _pod_name(host: str) -> str:
    """Of `<pod>.<service>`, with or without a port."""
    return host.partition(".")[0].partition(":")[0]


def _pod_of(about: Any) -> Pod | None:
    metadata = about.get("metadata") if isinstance(about, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name := metadata.get("name"), str):
        return None
    labels = metadata.get("labels")
    return Pod(name, str(labels.get(LABEL, "")) if isinstance(labels, dict) else "")
