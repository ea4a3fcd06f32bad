"""Configuration files of the VIP, made from the shipped ones in `deploy/`: the same text with other hosts and ports.

The shipped files mark the lines that an operator edits (`… begin` to `… end`, and a trailing comment for the
address); the same marks are filled in here, so that what tests and `fasttree up` run is what production runs.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

#: Envoy's clusters that have the nodes.
ENVOY_CLUSTERS: Final = ("primary", "ready")

_SOCKET_PATH_BYTES_MAX = 107

#: Beside the package in a checkout; inside it in an installed wheel.
_FOLDERS = (Path(__file__).parents[4] / "deploy", Path(__file__).parent / "deploy")


class VipError(Exception):
    """A shipped file that is missing, or has lost a mark: one line that names it."""


def deploy_file(name: str) -> Path:
    """The shipped file `envoy/…` or `haproxy/…`.

    Raises:
        VipError: It is not there.
    """
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise VipError(f"{_FOLDERS[0] / name} is missing: install the package anew, or restore it from the repository")


def render_envoy(nodes: Sequence[str], vip_address: str | int, admin: Path) -> str:
    """Envoy's configuration, as text.

    Args:
        nodes: Report addresses `host:port` of all nodes.
        vip_address: `host:port` to listen on, or a port on loopback.
        admin: The socket of Envoy's own page. Without one where its path is longer than a socket's may be.

    Raises:
        VipError: The shipped file is damaged.
        ValueError: No nodes, or a malformed address.
    """
    text = _envoy_with(nodes)
    text = replace_marked(text, "VIP address", f"socket_address: {_host_and_port(vip_address)}")
    pipe = f"    pipe: {{path: {json.dumps(str(admin))}, mode: 384}}"
    fits = len(os.fsencode(admin)) <= _SOCKET_PATH_BYTES_MAX
    return replace_block(text, "admin", ["admin:", "  address:", pipe] if fits else [])


def render_followed_envoy(followed: Mapping[str, Path], vip_address: str | int, admin: Path) -> str:
    """The same, with the nodes in files that Envoy follows: whoever comes or goes there, no call notices.

    Args:
        followed: A file for each of `ENVOY_CLUSTERS`, as `render_envoy_nodes` has it, replaced in one step.

    Raises: As `render_envoy`.
    """
    text = render_envoy(["127.0.0.1:1"], vip_address, admin)
    for cluster, path in followed.items():
        source = f"{{path_config_source: {{path: {json.dumps(str(path))}}}}}"
        # One that is gone from the file takes no new call from then on, though it still says that it is well.
        lines = [f"eds_cluster_config: {{eds_config: {source}}}", "ignore_health_on_host_removal: true"]
        text = replace_block(text, f"assignment of {cluster}", lines)
        text = replace_marked(text, f"type of {cluster}", "type: EDS")
    return text


def render_envoy_nodes(cluster: str, nodes: Sequence[str]) -> str:
    """The file of one of `ENVOY_CLUSTERS`. `nodes`: IP addresses with ports: Envoy looks up no names there.

    Raises: As `render_envoy`.
    """
    name = "assignment of primary"  # both have the same
    found = re.search(rf"# {name} begin\n *load_assignment:\n(.*?)\n *# {name} end", _envoy_with(nodes), re.DOTALL)
    if found is None:
        raise VipError(f"the shipped file has no lines from `# {name} begin` to `# {name} end`: restore them")
    assignment = textwrap.indent(textwrap.dedent(found[1]), "    ")
    assignment = assignment.replace("cluster_name: primary", f"cluster_name: {cluster}")
    kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    return f'resources:\n  - "@type": {kind}\n{assignment}\n'


def _envoy_with(nodes: Sequence[str]) -> str:
    endpoints = [f"- endpoint: {{address: {_socket(node)}}}" for node in _checked(nodes)]
    return replace_block(deploy_file("envoy/envoy.yaml").read_text(encoding="utf-8"), "nodes", endpoints)


def render_haproxy(nodes: Sequence[tuple[str, str]], vip_address: str | int) -> str:
    """HAProxy's configuration, as text. Start HAProxy with any working folder: hold.lua is named by its full path.

    Args:
        nodes: Report and HTTP address (`host:port` each, on the same host) of all nodes.
        vip_address: `host:port` to listen on, or a port on loopback.

    Raises:
        VipError: The shipped file is damaged.
        ValueError: No nodes, or a malformed address.
    """
    _checked([report for report, _ in nodes])
    primaries, backups, ready = [], [], []
    for number, (report, http) in enumerate(nodes, 1):
        http_port = _split(http)[1]
        check = f"check check-proto h1 port {http_port}"
        checked = f"server node{number} {report} proto h2 {check} init-addr last,libc,none"
        primaries.append(checked)
        ready.append(checked)
        track = f"track ready/node{number} backup"
        backups.append(f"server node{number}-ready {report} proto h2 {track} init-addr last,libc,none")
    text = deploy_file("haproxy/haproxy.cfg").read_text(encoding="utf-8")
    for name, lines in (("primaries", primaries), ("backups", backups), ("ready", ready)):
        text = replace_block(text, name, lines)
    text = replace_marked(text, "VIP address", f"bind {_bound(vip_address)} proto h2")
    return text.replace("lua-load hold.lua", f"lua-load {deploy_file('haproxy/hold.lua')}")


def _checked(nodes: Sequence[str]) -> Sequence[str]:
    if not nodes:
        raise ValueError("a VIP needs at least one node")
    for node in nodes:
        _split(node)
    return nodes


def _split(address: str | int) -> tuple[str, int]:
    if isinstance(address, int):
        return "127.0.0.1", address
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal() and re.fullmatch(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", host)):
        raise ValueError(f"{address!r} is no address: expected host:port, an IPv6 address in brackets")
    return host.strip("[]"), int(port)


def _bound(address: str | int) -> str:
    host, port = _split(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(address: str | int) -> str:
    host, port = _split(address)
    shown = f'"{host}"' if ":" in host else host
    return f"{{address: {shown}, port_value: {port}}}"


def _socket(address: str) -> str:
    return f"{{socket_address: {_host_and_port(address)}}}"


def replace_block(text: str, name: str, lines: Sequence[str]) -> str:
    """Puts the lines between `# NAME begin` and `# NAME end`, with the marks' own indent."""
    pattern = re.compile(rf"^( *)# {name} begin\n.*?^ *# {name} end$", re.MULTILINE | re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise VipError(f"the shipped file has no lines from `# {name} begin` to `# {name} end`: restore them")

    def block(match: re.Match[str]) -> str:
        indent = match[1]
        return "\n".join(f"{indent}{line}" for line in (f"# {name} begin", *lines, f"# {name} end"))

    return pattern.sub(block, text)


def replace_marked(text: str, name: str, content: str) -> str:
    """Replaces what stands before the trailing comment `# NAME`."""
    pattern = re.compile(rf"^( *)\S.*(  # {name})$", re.MULTILINE)
    if len(pattern.findall(text)) != 1:
        raise VipError(f"the shipped file has no line with the comment `# {name}`: restore it")
    return pattern.sub(lambda match: f"{match[1]}{content}{match[2]}", text)
