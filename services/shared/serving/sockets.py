"""Sockets to listen on."""

from __future__ import annotations

import socket

BACKLOG = 1_024


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, all on one port; "::" takes IPv4 as well. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            one.bind((address[0], port, *address[2:]))
            port = one.getsockname()[1]
            one.listen(BACKLOG)
            one.setblocking(False)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets
