"""The files of a cluster for one environment: what CBLDATATRAX says, in the words of this system.

cluster.toml     for coordinator, pusher and every node: `--config`
hosts.PORT       the nodes, as the host file of 2016 has them
endpoints.json   for the command and the clients
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from services.datatrax.cbldatatrax.configuration import Configuration, Environment
from services.shared.config.load import SettingsError
from services.shared.domain.addresses import Host, address_of
from services.shared.security.settings import CLEARTEXT

_COORDINATOR_PORT: Final = 50400
_PUSHER_PORT: Final = 50300
_EVERY_ADDRESS: Final = "0.0.0.0"
_Setting: TypeAlias = str | int | bool | list[str]


def converted(
    configuration: Configuration, environment: str, hosts: Sequence[Host], datatrax_host: str, folder: Path
) -> dict[str, bytes]:
    """Each file's name in `folder`, and its content. The configuration has no fault.

    Args:
        datatrax_host: Where coordinator and pusher run, as the nodes reach it.
        folder: Where the files will lie, so that one may name another.

    Raises:
        SettingsError: There is no such environment, it has no cluster, or it has no nodes; with the mend.
    """
    chosen = cluster_of(configuration, environment)
    if not hosts:
        raise SettingsError("the host file has no node: write a line for each, host report-port instant-port")
    hosts_name = f"hosts.{configuration.instant_port}"
    kept = chosen.text("dir").rstrip("/")
    coordinator = address_of(datatrax_host, _COORDINATOR_PORT)
    pusher = address_of(datatrax_host, _PUSHER_PORT)
    sections: dict[str, dict[str, _Setting]] = {
        "cluster": {
            "name": cluster_name(chosen),
            "hosts_file": str(folder / hosts_name),
            "coordinator": coordinator,
            **_about_customers(configuration),
        },
        "coordinator": {
            "listen_host": _EVERY_ADDRESS,
            "port": _COORDINATOR_PORT,
            "state_folder": f"{kept}/coordinator",
        },
        "pusher": {
            "listen_host": _EVERY_ADDRESS,
            "port": _PUSHER_PORT,
            "advertise": pusher,
            "state_folder": f"{kept}/pusher",
            **({"upload_folder": chosen.text("upload")} if chosen.text("upload") else {}),
        },
        "treenode": {"listen_host": _EVERY_ADDRESS, **_ports(hosts), "state_folder": f"{kept}/treenode"},
        # As it was in 2016, until the company has certificates.
        "tls": {"mode": CLEARTEXT},
    }
    endpoints = {
        "vip": address_of(chosen.text("server"), chosen.port),
        "pusher": pusher,
        "coordinator": coordinator,
        "nodes": [
            {"name": _node_name(host, hosts), "report": host.report_address, "instant": host.instant_address}
            for host in hosts
        ],
    }
    lines = [f"{host.host} {host.report_port} {host.instant_port}\n" for host in hosts]
    return {
        "cluster.toml": _toml(environment, sections).encode(),
        hosts_name: "".join(lines).encode(),
        "endpoints.json": (json.dumps(endpoints, indent=2) + "\n").encode(),
    }


def cluster_of(configuration: Configuration, environment: str) -> Environment:
    """The environment of that name. Raises SettingsError where there is none, or it has no cluster."""
    chosen = configuration.environments.get(environment)
    if chosen is None:
        there = ", ".join(configuration.environments) or "none"
        raise SettingsError(f"no environment {environment}; there are: {there}")
    if not chosen.has_cluster:
        switches = " and ".join(f"{chosen.values[name].name}=Y" for name in ("enabled-primary", "cluster-transfer"))
        raise SettingsError(f"{environment} has no cluster: set {switches} where it is to have one")
    return chosen


def cluster_name(environment: Environment) -> str:
    """Of an environment that has one."""
    return f"{environment.text('MDIR')}-{environment.name}"


def _about_customers(configuration: Configuration) -> dict[str, _Setting]:
    """What is not as it is by default. A status code of 2016 is one character."""
    statuses, rank_zero = configuration.common["Customer-Status-List"], configuration.common["Customers-are-Rank-Zero"]
    found: dict[str, _Setting] = {}
    if statuses.text:
        found["customer_statuses"] = list(statuses.text)
    if rank_zero.text.upper() == "Y":
        found["customers_are_rank_zero"] = True
    return found


def customer_assignments(configuration: Configuration) -> tuple[str, ...]:
    """The same for a command line."""
    words = {
        name: value if isinstance(value, list) else ["true"] for name, value in _about_customers(configuration).items()
    }
    return tuple(f"cluster.{name}={','.join(value)}" for name, value in words.items())


def _ports(hosts: Sequence[Host]) -> dict[str, int]:
    """Of nodes that all have the same; else each machine's own settings say them."""
    if len({host[1:] for host in hosts}) > 1:
        return {}
    return {"report_port": hosts[0].report_port, "instant_port": hosts[0].instant_port}


def _node_name(host: Host, hosts: Sequence[Host]) -> str:
    """A node is named for its machine; where two are on one, for its port beside."""
    short = host.host.partition(".")[0] if not host.host[0].isdigit() and ":" not in host.host else host.host
    alone = sum(each.host.partition(".")[0] == host.host.partition(".")[0] for each in hosts) == 1
    return short if alone else f"{host.host}-{host.report_port}"


def _toml(environment: str, sections: dict[str, dict[str, _Setting]]) -> str:
    blocks = [
        f"# Made from CBLDATATRAX for {environment}, by `fasttree datatrax config convert`.\n"
        "# Every other setting has its default."
    ]
    for name, fields in sections.items():
        lines = [f"{field} = {json.dumps(value, ensure_ascii=False)}" for field, value in fields.items()]
        blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"
