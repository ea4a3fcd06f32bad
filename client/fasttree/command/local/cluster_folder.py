"""The folder of a cluster that runs on this machine: settings, host file, state, logs, endpoints.

cluster.toml       settings, written at the first start, yours to edit from then on
nodes              the nodes' names, a line each, written by `fasttree up` and `fasttree node`, and followed
coordinators       the coordinators' names, a line each in their order: as many as `fasttree up` was told last
pushers            the same of the pushers
hosts.50201        the host file, written at each start and each change of the nodes
endpoints.json     where everything is, written once all is ready, removed at the end
upload/            an import file that is put here is taken
logs/              what each process wrote
state/             log, import files, trees: what must not be lost
envoy.yaml         the VIP's configuration
vip-*.yaml         its nodes, and with --tls its certificate, which it follows
certs/             with --tls: an authority of its own, and what it signed
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from fasttree.command.session import CommandError
from services.shared.files.durable import discard, make_folder, write_durably
from services.shared.files.state_folder import lock_folder
from services.shared.serving.process import StartupError

_SETTINGS = """\
# Settings of this cluster, written by `fasttree up` at its first start; edit them and start again.
# Every setting with its default: docs/configuration.md. Ports, folders and addresses are given by `fasttree up` itself.

[cluster]
name = "dot-local"
# What the log begins with; later, volume types and commission periods are changed by `fasttree volume-type` and
# `fasttree period`. Volume types, the default first; the open period is the month of the first start (UTC).
volume_types = ["PV"]
"""


#: What a host file begins with that we have written.
HOSTS_HEADER = "# host report-port instant-port; written by `fasttree up` at each start\n"
NODES_MAX = 32
#: Of coordinators, and of pushers.
SEVERAL_MAX = 5
#: Where the settings say nothing.
_CLUSTER = "dot-live"


def node_names(count: int) -> list[str]:
    """n1, n2, …"""
    return [f"n{number}" for number in range(1, count + 1)]


def part_names(part: str, count: int) -> list[str]:
    """Of coordinators, or of pushers: the first of them has the name alone."""
    return [part, *(f"{part}-{number}" for number in range(2, count + 1))]


class ClusterFolder:
    """Paths in the folder, and its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.settings = self.path / "cluster.toml"
        self.nodes = self.path / "nodes"
        self.hosts = self.path / "hosts.50201"
        self.endpoints = self.path / "endpoints.json"
        self.upload = self.path / "upload"
        self.envoy = self.path / "envoy.yaml"
        self.certs = self.path / "certs"
        self.tokens = self.path / "tokens"
        self._lock: IO[str] | None = None

    def check_settings(self, assignments: Sequence[str], *, tokens: bool) -> None:
        """Raises CommandError where a service would take no such setting: before one is started. What --set says of
        tokens, where the cluster makes their keys yet, those judge who read it."""
        from fasttree.command.settings.reading import check_given  # it loads the settings of every service

        given = tuple(each for each in assignments if not (tokens and each.startswith("tokens.")))
        check_given(self.settings if self.settings.exists() else None, given)

    def take(self) -> None:
        """Makes the folder ours until this process ends, and lays out what is missing. Raises CommandError."""
        try:
            self._lock = lock_folder(self.path)
        except StartupError as error:
            raise CommandError(f"{error} (another `fasttree up`? give this one its own --dir)") from None
        self.forget_endpoints()
        make_folder(self.upload)
        if not self.settings.exists():
            write_durably(self.settings, _SETTINGS.encode())

    def read_nodes(self) -> list[str]:
        """The nodes that there should be; none where there was no start yet. Raises CommandError."""
        names, known = _words(self.nodes), node_names(NODES_MAX)
        if names is None:
            return []
        if not names or len(set(names)) < len(names) or not set(names) <= set(known):
            raise CommandError(f"{self.nodes} must have names from {known[0]} to {known[-1]}, a line each, none twice")
        return names

    def write_nodes(self, names: Sequence[str]) -> None:
        """From then on these are to be there."""
        _write_words(self.nodes, names)

    def read_count(self, part: str) -> int:
        """How many coordinators, or pushers, there were at the last start; 1 where nobody has said. Raises
        CommandError."""
        path = self.path / f"{part}s"
        names, known = _words(path), part_names(part, SEVERAL_MAX)
        if names is None:
            return 1
        if not names or names != known[: len(names)]:
            raise CommandError(f"{path} must have the first names of {', '.join(known)}, a line each, in this order")
        return len(names)

    def write_count(self, part: str, count: int) -> None:
        """As many at the next start."""
        _write_words(self.path / f"{part}s", part_names(part, count))

    def write_hosts(self, lines: list[str]) -> None:
        write_durably(self.hosts, (HOSTS_HEADER + "".join(f"{line}\n" for line in lines)).encode())

    def write_envoy(self, configuration: str, nodes: Mapping[Path, str]) -> None:
        """Writes the VIP's configuration, and the files of its nodes, each in one step."""
        for path, content in nodes.items():
            write_durably(path, content.encode())
        write_durably(self.envoy, configuration.encode())

    @property
    def envoy_admin(self) -> Path:
        """The socket of Envoy's own page."""
        return self.path.absolute() / "vip-admin.sock"

    def envoy_nodes(self, cluster: str) -> Path:
        """The nodes of one of Envoy's clusters; or one of its secrets."""
        return self.path / f"vip-{cluster}.yaml"

    def cluster_name(self) -> str:
        """As the settings have it. Raises CommandError."""
        try:
            section = tomllib.loads(self.settings.read_text(encoding="utf-8")).get("cluster", {})
            return str(section.get("name", _CLUSTER))
        except (OSError, ValueError, AttributeError) as error:
            raise CommandError(f"{self.settings} can't be read: {error}") from None

    def forget_endpoints(self) -> None:
        """Removes the file of a cluster that doesn't run, or not yet."""
        discard(self.endpoints)

    def log(self, name: str) -> Path:
        """A process's log file."""
        return self.path / "logs" / f"{name}.log"

    def state(self, name: str) -> Path:
        """A process's own state."""
        return self.path / "state" / name


def _words(path: Path) -> list[str] | None:
    """Of a file of names; None: there is none. Raises CommandError."""
    try:
        return path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error}") from None
    except ValueError:
        raise CommandError(f"{path} is no text: remove it, and the next start writes it anew") from None


def _write_words(path: Path, names: Sequence[str]) -> None:
    write_durably(path, "".join(f"{name}\n" for name in names).encode())
