"""A company's DataTrax side as its files describe it: CBLDATATRAX, the host file, the folders on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fasttree.client import Endpoints
from fasttree.command.datatrax.reading import FoundAt, read
from services.datatrax.cbldatatrax.configuration import Environment
from services.datatrax.cbldatatrax.conversion import cluster_name, cluster_of
from services.datatrax.in_force.places import below, chosen_environment
from services.shared.config.hosts_file import hosts_by_line, hosts_faults, read_lines
from services.shared.config.load import SettingsError
from services.shared.domain.addresses import Host, address_of, host_and_port

CBLDATATRAX = "CBLDATATRAX"
INSTANT_PORT = 50201


class Check(NamedTuple):
    """One thing that was looked at."""

    what: str
    good: bool
    #: What was found, and the mend where it is wrong.
    said: str


class Place(NamedTuple):
    """What the files say, and what is to be said of them."""

    hosts: list[Host]
    instant_port: int
    #: host:port; empty: nothing says it.
    vip: str
    #: By CBLDATATRAX; empty: there is none.
    cluster_name: str
    checks: list[Check]

    @property
    def vip_place(self) -> tuple[str, int]:
        """Host and port."""
        return host_and_port(self.vip)


def read_place(
    folder: Path, file: Path | None, environment: str, root: Path | None, port: int | None, endpoints: Endpoints
) -> Place:
    """Reads all of it. Blocks: it reads the disk.

    Args:
        folder: /datatrax/fasttree, or what stands for it.
        file: CBLDATATRAX; where not given, that in the folder, if it is there.
        root: Stands for / in its paths: then it is tried, and the VIP is that of the endpoints.
        port: The instant port, where CBLDATATRAX does not say it.

    Raises:
        CommandError: CBLDATATRAX can't be read.
    """
    usual = folder / CBLDATATRAX
    if file is None and not usual.exists():
        port = port or INSTANT_PORT
        hosts_file = folder / f"hosts.{port}"
        hosts, checks = _hosts(hosts_file)
        return Place(hosts, port, endpoints.vip, "", checks + list(_folders(folder, port, {})))
    return _configured(folder, file or usual, environment, str(root.absolute()) if root else "", port, endpoints)


def _configured(folder: Path, file: Path, environment: str, root: str, port: int | None, endpoints: Endpoints) -> Place:
    instant_port = port or read(file, None).configuration.instant_port
    hosts_file = folder / f"hosts.{instant_port}"
    found = read(file, hosts_file if hosts_file.exists() else None)
    own = [each for each in found.faults if each.place.startswith(str(file))]
    checks = [_wrong(each) for each in own]
    chosen = None
    try:
        chosen = cluster_of(found.configuration, chosen_environment(found.configuration, environment))
        if not own:
            checks.append(Check(str(file), True, f"good; {chosen.name} has the cluster {cluster_name(chosen)}"))
    except SettingsError as error:
        checks.append(Check(str(file), False, str(error)))
    hosts, of_hosts = _hosts(hosts_file)
    vip = endpoints.vip
    if chosen is not None and not root and chosen.text("server"):
        vip = address_of(chosen.text("server"), chosen.port)
    here = chosen if chosen is not None and _is_here(endpoints.pusher) else None
    folders = _folders(folder, instant_port, _named_folders(here, root))
    name = cluster_name(chosen) if chosen is not None else ""
    return Place(hosts, instant_port, vip, name, checks + of_hosts + list(folders))


def _hosts(hosts_file: Path) -> tuple[list[Host], list[Check]]:
    """The nodes, and what is to be said of the file."""
    if not hosts_file.exists():
        mend = "write a line for each node into it, host report-port instant-port"
        return [], [Check(str(hosts_file), False, f"is not there: {mend}")]
    if faults := hosts_faults(hosts_file):
        return [], [Check(where, False, said) for where, _, said in (fault.partition(": ") for fault in faults)]
    hosts = list(hosts_by_line(hosts_file, read_lines(hosts_file)).values())
    said = ", ".join(host.report_address for host in hosts)
    return hosts, [
        Check(str(hosts_file), bool(hosts), f"has {said}" if hosts else "has no node: write a line for each")
    ]


def _named_folders(chosen: Environment | None, root: str) -> dict[str, Path]:
    """Those of CBLDATATRAX that are on this machine, by their keys' names."""
    if chosen is None:
        return {}
    values = [chosen.values[name] for name in ("dir", "upload") if chosen.text(name)]
    return {value.name: Path(below(root, value.text)) for value in values}


def _folders(folder: Path, port: int, named: dict[str, Path]) -> Iterator[Check]:
    for what, path in {"folder": folder, "spool": folder / f"FT{port}", **named}.items():
        problem = _writable(path)
        yield Check(f"{what} {path}", not problem, problem or "is there, and this user may write it")


def _writable(folder: Path) -> str:
    """What is wrong with a folder for whoever runs this; empty where nothing is."""
    if not folder.is_dir():
        return "is not there: make it, for the user that the service runs as"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return "can't be written by this user: give it to the one that the service runs as"
    return ""


def _is_here(address: str) -> bool:
    """Whether a server's address is one of this machine's."""
    if not address:
        return False
    try:
        infos = socket.getaddrinfo(host_and_port(address)[0], 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, _, _, place in infos:
        with socket.socket(family, kind) as probe:
            try:
                probe.bind(place)
            except OSError:
                continue
            return True
    return False


def _wrong(finding: FoundAt) -> Check:
    return Check(finding.place, False, finding.text)
