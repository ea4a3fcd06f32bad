"""Which labels are not as they should be, without any I/O.

The rules
---------
1. Labels follow the roles; nobody goes by them to find out who is primary. One that is wrong is put right at the next
   look, whoever made it so and however often.
2. Of the nodes, the primary has `primary` and every other one `passive`. While there is no primary the labels stay
   where they were: an election is no reason for a Service without endpoints, and a node that is not ready is none.
3. Of the coordinators, the one that looks is active, and the others of its StatefulSet stand by.
4. First a role is taken away, then it is given: while that goes on there are none rather than two.
5. Pods that are neither nodes of this cluster nor its coordinators are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LABEL = "fasttree.io/role"
PRIMARY, PASSIVE = "primary", "passive"
ACTIVE, STANDBY = "active", "standby"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, and the role that its label says; empty where it has none."""

    name: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles as they should be.

    Attributes:
        nodes: The pods of the cluster's nodes.
        primary: The primary's pod; empty while there is none.
        coordinator: The active coordinator's pod.
    """

    nodes: frozenset[str]
    primary: str
    coordinator: str


def corrections(pods: Iterable[Pod], roles: Roles) -> list[Pod]:
    """Each pod whose label is to be changed, with the role that it is to have, in this order."""
    others = roles.coordinator.rpartition("-")[0]
    wrong = []
    for pod in pods:
        if pod.name in roles.nodes:
            if not roles.primary and pod.role in (PRIMARY, PASSIVE):
                continue
            role = PRIMARY if pod.name == roles.primary else PASSIVE
        elif pod.name == roles.coordinator:
            role = ACTIVE
        elif others and pod.name.rpartition("-")[0] == others:
            role = STANDBY
        else:
            continue
        if role != pod.role:
            wrong.append(Pod(pod.name, role))
    return sorted(wrong, key=lambda pod: (pod.role in (PRIMARY, ACTIVE), pod.name))
