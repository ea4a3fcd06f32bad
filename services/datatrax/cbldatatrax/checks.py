"""What of a configuration can't be meant, though each value by itself may be: a fault for each, with the mend.

Only environments that have a cluster are held against each other and against the host file: a file of 2016 describes
others too, which nothing listens to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from services.datatrax.cbldatatrax.configuration import Configuration, Environment
from services.datatrax.cbldatatrax.lines import SECTION, Fault
from services.shared.domain.addresses import Host

#: What a cluster can't be without, and what it is.
_NEEDED: Final = (
    ("server", "the VIP's host name"),
    ("MDIR", "the folder of its data, which the cluster is named for"),
    ("dir", "a folder for what its processes keep"),
)

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def faults_of(configuration: Configuration, hosts_file: Path | None, hosts: Mapping[int, Host]) -> list[Fault]:
    """All that is wrong, in the order of lines. `hosts`: the host file's nodes by their lines; empty where there is
    none to hold against."""
    faults = list(configuration.faults)
    environments = list(configuration.environments.values())
    for environment in environments:
        faults += _of_environment(environment)
    clusters = [each for each in environments if each.has_cluster]
    for cluster in clusters:
        faults += _of_cluster(cluster, configuration)
        if hosts_file is not None and hosts:
            faults += _vip_is_no_node(cluster, hosts_file, hosts)
    faults += _apart(clusters)
    if hosts_file is not None and hosts:
        faults += _of_instant_port(configuration, hosts_file, hosts)
    return sorted(faults)


def remarks_of(configuration: Configuration) -> list[Fault]:
    """What is no fault, and may not be meant."""
    remarks = [
        Fault(entry.line, f"{entry.name} is no key of ours: nothing goes by it") for entry in configuration.unknown
    ]
    for each in configuration.environments.values():
        on, switch = each.is_on("enabled-primary"), each.values["cluster-transfer"]
        if each.is_on("cluster-transfer") and not on:
            enabled = each.values["enabled-primary"]
            remarks.append(
                Fault(switch.line, f"{switch.name} is Y, and {enabled.name} is not: {each.name} has no cluster")
            )
        elif on and not each.is_on("cluster-transfer"):
            remarks.append(
                Fault(
                    each.line("enabled-primary"),
                    f"{each.name} is in use, and {switch.name} is not Y: its data goes to its one server of 2016",
                )
            )
    return sorted(remarks)


def _of_environment(environment: Environment) -> Iterator[Fault]:
    enabled, server = environment.values["enabled-primary"], environment.values["server"]
    if environment.is_on("enabled-primary") and not server.text:
        yield Fault(enabled.line, f"{enabled.name} is Y, and no line says its server: add {server.name}=HOST")
    for name in ("enabled-secondary", "enabled-tertiary"):
        if environment.is_on(name) and not environment.is_on("enabled-primary"):
            yield Fault(
                environment.line(name),
                f"{environment.values[name].name} is Y without the first: set {enabled.name}=Y, or this one to N",
            )


def _of_cluster(cluster: Environment, configuration: Configuration) -> Iterator[Fault]:
    switch, port = cluster.values["cluster-transfer"], cluster.values["server-port"]
    for name, what in _NEEDED:
        value = cluster.values[name]
        if not value.text and name != "server":  # told above
            yield Fault(switch.line, f"{switch.name} is Y, and {value.name} is missing: add it, {what}")
    if cluster.is_on("enabled-tertiary"):
        third = cluster.values["enabled-tertiary"]
        yield Fault(
            third.line,
            f"{third.name} is Y, and a cluster has two trees, of sponsors and of placements: set it to N; what a third "
            "one said can come as further columns of the import file",
        )
    upload = cluster.values["upload"]
    kept = [PurePosixPath(cluster.text("dir"), process) for process in ("coordinator", "pusher", "treenode")]
    if upload.text and any(PurePosixPath(upload.text).is_relative_to(each) for each in kept):
        yield Fault(
            upload.line,
            f"{upload.name} lies in what a process keeps below {cluster.values['dir'].name}, whose files are no import "
            "files: name a folder of its own",
        )
    if cluster.port == configuration.instant_port:
        other = configuration.common["Instant-Server-Port"]
        yield Fault(
            port.line or other.line,
            f"{port.name} and {other.name} are both {cluster.port}: reports and updates need a port each",
        )


def _apart(clusters: list[Environment]) -> Iterator[Fault]:
    """Two clusters share nothing."""
    shared: tuple[tuple[str, str, Callable[[Environment], str]], ...] = (
        ("server-port", "the same VIP", lambda each: f"{each.text('server').lower()} {each.port}"),
        ("dir", "the same folder", lambda each: each.text("dir").rstrip("/")),
        ("upload", "the same folder of import files", lambda each: each.text("upload").rstrip("/")),
        ("MDIR", "the same name of a cluster", lambda each: each.text("MDIR").lower()),
    )
    for name, what, key in shared:
        first: dict[str, Environment] = {}
        for each in clusters:
            if not each.text(name):
                continue
            other = first.setdefault(key(each), each)
            if other is not each:
                yield Fault(
                    each.line(name) or each.line("cluster-transfer"),
                    f"{each.name} and {other.name} have {what}, at "
                    f"{other.values[name].name}: give one of them another {SECTION}-{name}",
                )


def _vip_is_no_node(cluster: Environment, hosts_file: Path, hosts: Mapping[int, Host]) -> Iterator[Fault]:
    server = cluster.values["server"]
    for line, host in hosts.items():
        if (host.host.lower(), host.report_port) == (server.text.lower(), cluster.port):
            yield Fault(
                server.line,
                f"{server.name} is the node at line {line} of {hosts_file}: name the VIP, "
                "which leads to whichever node is primary",
            )


def _of_instant_port(configuration: Configuration, hosts_file: Path, hosts: Mapping[int, Host]) -> Iterator[Fault]:
    port = configuration.common["Instant-Server-Port"]
    machines = Counter(host.host.lower() for host in hosts.values())
    for line, host in hosts.items():
        # Nodes that share a machine, with each other or with the local instant port, can't all have the one port.
        if machines[host.host.lower()] > 1 or host.host.lower() in _THIS_MACHINE:
            continue
        if host.instant_port != configuration.instant_port:
            yield Fault(
                port.line,
                f"{port.name} is {port.text}, and {host.host} at line {line} of {hosts_file} has {host.instant_port}: "
                "make them one",
            )
