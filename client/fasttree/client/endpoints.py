"""Where a cluster is: the file that `fasttree up` writes, or one written by hand for a cluster elsewhere."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fasttree.client.errors import EndpointsError


@dataclass(frozen=True, kw_only=True)
class NodeEndpoint:
    """One tree node: its three ports as host:port, and its process (0 where it is not on this machine)."""

    name: str
    report: str = ""
    instant: str = ""
    http: str = ""
    pid: int = 0


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Addresses as host:port: `vip` for reports, `pusher` for updates and imports, `coordinator` for operators."""

    vip: str = ""
    pusher: str = ""
    coordinator: str = ""
    nodes: tuple[NodeEndpoint, ...] = ()
    #: host:port of the HTTP ports (health, metrics) of what is not a node.
    http: dict[str, str] = field(default_factory=dict)
    #: Process ids of what is not a node: coordinator, pusher, vip, up. Empty for a cluster elsewhere.
    pids: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Endpoints:
        """Reads an endpoints file. Raises EndpointsError, which names the file and the mend."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EndpointsError(
                f"{path} does not exist: start a cluster with `fasttree up`, or name another file with --endpoints"
            ) from None
        except (OSError, ValueError) as error:
            raise EndpointsError(f"{path} can't be read ({error}): write it anew with `fasttree up`") from None
        if not isinstance(content, dict):
            raise EndpointsError(f"{path} does not hold a JSON object with vip, pusher, coordinator, nodes")
        try:
            return cls._of(content)
        except (TypeError, ValueError, AttributeError) as error:
            raise EndpointsError(f"{path} does not fit ({error}): it needs vip, pusher, coordinator, nodes") from None

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Endpoints:
        known_keys = {"name", "report", "instant", "http", "pid"}
        nodes = tuple(
            NodeEndpoint(**{key: value for key, value in node.items() if key in known_keys})
            for node in content.get("nodes", [])
        )
        addresses = {key: str(content.get(key, "")) for key in ("vip", "pusher", "coordinator")}
        return cls(**addresses, nodes=nodes, http=dict(content.get("http", {})), pids=dict(content.get("pids", {})))

    def write(self, path: Path) -> None:
        """Writes the file in one step: a reader sees the old one or the new one, never a half.

        Without an fsync: after a power failure no process that it names is there.
        """
        text = json.dumps(asdict(self), indent=2) + "\n"
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def node(self, name: str) -> NodeEndpoint:
        """The node of that name. Raises EndpointsError, which lists those that there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.nodes) or "none"
        raise EndpointsError(f"no node {name!r} in the endpoints file; it has: {names}")
