"""Names of nodes, hosts and addresses: what they may be, at every door that they come through.

An address goes to gRPC, which takes far more than host:port (files, other schemes, ports that wrap); a name goes into
files, metrics and an operator's commands.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from services.shared.domain.sentences import quoted

#: Of every network that a machine has: to listen on, and nothing to be reached by.
EVERY_ADDRESS: Final = ("0.0.0.0", "::", "[::]")
PORT_MAX: Final = 65_535
#: Far more nodes than a cluster has.
HOSTS_MAX: Final = 1_000
#: A host name has 253 characters at most; brackets, colon and port come to it.
ADDRESS_LENGTH_MAX: Final = 300

PORT_PATTERN: Final = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST_NAME = r"[A-Za-z0-9_.-]{1,253}"
_IPV6 = r"(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,32})?"
HOST_PATTERN: Final = rf"(?:{_HOST_NAME}|{_IPV6}|\[{_IPV6}\])"
ADDRESS_PATTERN: Final = rf"(?:{_HOST_NAME}|\[{_IPV6}\]):{PORT_PATTERN}"
NODE_NAME_PATTERN: Final = r"[A-Za-z0-9._-]{1,64}"

NODE_NAME_FORM: Final = "1 to 64 of A-Z a-z 0-9 . _ -"
ADDRESS_FORM: Final = "{value} is no host:port: write it as ftsp01.example.com:50100 or [fd00::1]:50100"

_HOST = re.compile(HOST_PATTERN)
_ADDRESS = re.compile(ADDRESS_PATTERN)
_NODE_NAME = re.compile(NODE_NAME_PATTERN)


def is_node_name(text: str) -> bool:
    """Whether a node may have this name."""
    return _NODE_NAME.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Whether it is a host's name or address, without a port."""
    return len(text) <= ADDRESS_LENGTH_MAX and _HOST.fullmatch(text) is not None


def address_problem(text: str) -> str | None:
    """What makes a text no host:port; None where nothing does."""
    if len(text) <= ADDRESS_LENGTH_MAX and _ADDRESS.fullmatch(text):
        return None
    return ADDRESS_FORM.format(value=quoted(text))


def address_of(host: str, port: int) -> str:
    """host:port, as gRPC takes it: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def is_safe_url(url: str) -> bool:
    """Whether what is asked there stays between the two: https://, or http:// at an address of loopback."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return bool(host)
        return parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_and_port(address: str) -> tuple[str, int]:
    """Of a host:port; brackets are taken off."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Host(NamedTuple):
    """A node as the cluster's list of nodes has it."""

    host: str
    report_port: int
    instant_port: int

    @property
    def report_address(self) -> str:
        """host:port of the report port."""
        return address_of(self.host, self.report_port)

    @property
    def instant_address(self) -> str:
        """host:port of the instant port."""
        return address_of(self.host, self.instant_port)
