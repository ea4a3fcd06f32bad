"""The identity of this process: one for all of its ports and connections, as it has one user and one umask."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from services.shared.security.settings import CLEARTEXT, MUTUAL, TlsSettings
from services.shared.security.tokens.settings import TokenSettings

if TYPE_CHECKING:
    from services.shared.security.following import Tls
    from services.shared.security.guard import Guard
    from services.shared.security.policy import Policy
    from services.shared.security.policy_in_force import PolicyInForce
    from services.shared.security.tokens.following import Tokens


class _Process:
    tls: Tls | None = None
    tokens: Tokens | None = None
    guard: Guard | None = None
    #: What tokens are judged by where connections have no certificates.
    clear_policy: PolicyInForce | None = None
    reload_s = 1.0
    #: It was told in words that nobody but its own reaches it.
    in_clear = False


def begin(settings: TlsSettings, tokens: TokenSettings | None = None) -> None:
    """From now on this process goes by them.

    Raises:
        TlsError: The files can't be used.
    """
    _Process.in_clear = settings.mode == CLEARTEXT
    _Process.tls = _Process.tokens = _Process.guard = _Process.clear_policy = None
    found: Tokens | None = None
    if tokens is not None and tokens.keys:
        # What reads tokens and certificates takes a while to import, which a node without them need not wait for.
        from services.shared.security.tokens.following import Tokens

        found = Tokens(tokens)
    if settings.mode == MUTUAL:
        from services.shared.security.following import Tls

        tls = Tls(settings, tokens=found)
        _Process.tls, _Process.guard = tls, tls.guard
    elif found is not None:
        from services.shared.security.guard import Guard
        from services.shared.security.policy_in_force import PolicyInForce
        from services.shared.security.roles import shipped_policy

        policy = PolicyInForce(settings.policy, lambda: shipped_policy("in-clear"))
        _Process.guard = Guard(lambda: policy.now, found, in_clear=True)
        _Process.clear_policy, _Process.reload_s = policy, settings.reload_s
    _Process.tokens = found


async def follow() -> None:
    """Follows every file that was named, for as long as the process goes on."""
    async with asyncio.TaskGroup() as group:
        for each in (_Process.tls, _Process.tokens):
            if each is not None:
                group.create_task(each.run())
        if _Process.clear_policy is not None:
            group.create_task(_Process.clear_policy.run(_Process.reload_s))


def own_guard() -> Guard | None:
    """None: whoever reaches a port may call everything, and nobody has a name."""
    return _Process.guard


def own_policy() -> Policy | None:
    """What calls are judged by now; None: they are not."""
    if _Process.tls is not None:
        return _Process.tls.policy
    return None if _Process.clear_policy is None else _Process.clear_policy.now


def own_tls() -> Tls | None:
    """None: without TLS."""
    return _Process.tls


def certificate_expires() -> Timestamp | None:
    """When this process's certificate is good no more; None: it has none."""
    if _Process.tls is None:
        return None
    found = Timestamp()
    found.FromDatetime(_Process.tls.identity.expires)
    return found


def security_problem() -> str:
    """Why a file of `[tls]` or `[tokens]`, or the address of keys, can't be used as it is now, in one line; empty where
    all can. What was there before goes on."""
    found = [] if _Process.tls is None else _Process.tls.problems
    found += [] if _Process.tokens is None else _Process.tokens.problems
    if _Process.clear_policy is not None and _Process.clear_policy.problem:
        found.append(_Process.clear_policy.problem)
    return "; ".join(found)


_MEND = (
    f'set tls.mode = "{MUTUAL}" and tls.folder (docs/security.md) or, where nobody else reaches this network, '
    f'tls.mode = "{CLEARTEXT}"'
)


def check_clear(host: str, mend: str = _MEND) -> None:
    """Before anything listens there that is no TLS.

    Raises:
        OSError: Strangers might reach it, and nobody said that they can't.
    """
    if not (_Process.in_clear or is_loopback(host)):
        raise OSError(f"will not listen on {host} in clear, where whoever reaches it may read and change all: {mend}")


def is_loopback(host: str) -> bool:
    """Whether this machine alone reaches what listens there."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # nothing can listen there: who tries tells it better
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
