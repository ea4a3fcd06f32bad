"""The identity of this process: one for all of its ports and connections, as it has one user and one umask."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from services.shared.security.settings import CLEARTEXT, MUTUAL, TlsSettings

if TYPE_CHECKING:
    from services.shared.security.following import Tls


class _Process:
    tls: Tls | None = None
    #: It was told in words that nobody but its own reaches it.
    in_clear = False


def begin(settings: TlsSettings) -> None:
    """From now on this process goes by them.

    Raises:
        TlsError: The files can't be used.
    """
    _Process.in_clear = settings.mode == CLEARTEXT
    _Process.tls = None
    if settings.mode == MUTUAL:
        # What reads certificates takes a while to import, which a node without them need not wait for.
        from services.shared.security.following import Tls

        _Process.tls = Tls(settings)


def own_tls() -> Tls | None:
    """None: without TLS."""
    return _Process.tls


_MEND = (
    f'set tls.mode = "{MUTUAL}" and tls.folder (docs/security.md) or, where nobody else reaches this network, '
    f'tls.mode = "{CLEARTEXT}"'
)


def check_clear(host: str, mend: str = _MEND) -> None:
    """Before anything listens there that is no TLS.

    Raises:
        OSError: Strangers might reach it, and nobody said that they can't.
    """
    if not (_Process.in_clear or _is_loopback(host)):
        raise OSError(f"will not listen on {host} in clear, where whoever reaches it may read and change all: {mend}")


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # nothing can listen there: who tries tells it better
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
