"""When updates get the meaning of a later version: once nobody would be left behind by it.

The rules:

1. The version in force is raised to the newest that this pusher and every known node know, and never lowered.
2. A node is known that the host file or the coordinator names. What it said stands while it is away; one that has said
   nothing, and one whose build is from before there were versions, know none. An operator who does not want to wait for
   a node takes it out of the host file.
3. Where no node is known, nothing is raised: they may all be about to be named.
4. A node that comes later and knows less stops before the record, and serves on: that is the engine's own rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from fasttree.v1 import types_pb2
from services.shared.domain.updates import OWN_ID_PREFIX


class KnownVersions:
    """What nodes say that they know."""

    def __init__(self, own: int) -> None:
        """`own`: the newest version that the pusher knows."""
        self.own = own
        #: Every known node's last word; 0: none.
        self._nodes: dict[str, int] = {}

    def are_known(self, nodes: Iterable[str]) -> None:
        """The nodes of the cluster: all and only those."""
        self._nodes = {node: self._nodes.get(node, 0) for node in nodes}

    def says(self, node: str, version: int) -> None:
        """A node's word. One that is not of the cluster is not waited for."""
        if node in self._nodes:
            self._nodes[node] = version

    def waits_for(self, in_force: int) -> list[str]:
        """Nodes that do not know the pusher's newest version; none where it is in force."""
        return [node for node, version in self._nodes.items() if version < self.own > in_force]

    def raised(self, in_force: int) -> list[types_pb2.Update]:
        """The record that is due, if one is."""
        version = min((self.own, *self._nodes.values()))
        if not self._nodes or version <= in_force:
            return []
        update_id = f"{OWN_ID_PREFIX}rule-version-{version}"
        return [types_pb2.Update(update_id=update_id, rule_version_raised=types_pb2.RuleVersionRaised(version=version))]
