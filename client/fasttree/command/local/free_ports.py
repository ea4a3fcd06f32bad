"""Free TCP ports on this machine."""

from __future__ import annotations

import os
import random
import socket
from collections import deque

#: Below the range that Linux takes for outgoing connections: such a connection could otherwise hold the port of a node
#: while it is down, and keep it from coming back.
_FIRST, _LAST = 20_000, 32_000
#: Nobody's seed may have two processes choose the same ones.
_CHANCE = random.SystemRandom()
#: What keeps the ports that this process found last: open files, which end with it.
_KEPT_MAX = 512
_kept: deque[int] = deque()


def free_ports(host: str, count: int, *others: str) -> list[int]:
    """That many different ports that nobody listens on now, there or at the others. Raises OSError
    where there are none.

    They are this process's: two clusters that start at the same moment are not given the same ones.
    """
    found: list[int] = []
    for port in _CHANCE.sample(range(_FIRST, _LAST), _LAST - _FIRST):
        if len(found) < count and all(is_free(each, port) for each in (host, *others)) and _keep(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {_FIRST} and {_LAST} on {host}")


def _keep(port: int) -> bool:
    """Whether the port is this process's from now on, until it ends or has found many more. Whoever looks for ports
    asks for the same name, which Linux keeps beside the ports, for each network namespace, and gives back by itself."""
    with socket.socket(socket.AF_UNIX) as keeper:
        try:
            keeper.bind(f"\0ha-fasttree-port-{port}")
        except OSError:
            return False
        _kept.append(keeper.detach())
    if len(_kept) > _KEPT_MAX:
        os.close(_kept.popleft())
    return True


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
