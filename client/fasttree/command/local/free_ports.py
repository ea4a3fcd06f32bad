"""Free TCP ports on this machine."""

from __future__ import annotations

import random
import socket

#: Below the range that Linux takes for outgoing connections: such a connection could otherwise hold the port of a node
#: while it is down, and keep it from coming back.
_FIRST, _LAST = 20_000, 32_000
#: Nobody's seed may have two processes choose the same ones.
_CHANCE = random.SystemRandom()


def free_ports(host: str, count: int, *others: str) -> list[int]:
    """That many different ports that nobody listens on now, there or at the others. Raises OSError
    where there are none."""
    found: list[int] = []
    for port in _CHANCE.sample(range(_FIRST, _LAST), _LAST - _FIRST):
        if len(found) == count:
            return found
        if all(is_free(each, port) for each in (host, *others)):
            found.append(port)
    raise OSError(f"no {count} free ports between {_FIRST} and {_LAST} on {host}")


def is_address(host: str) -> bool:
    """Whether a server of this machine could listen at the address, on some port."""
    return is_free(host, 0)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
