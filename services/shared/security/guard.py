"""The one place where a call is let in or refused, before anything of its own looks at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from services.shared.domain.sentences import plain
from services.shared.security.policy import Policy

#: By which Envoy and HAProxy say whose call it is; they throw away what a caller says there.
CALLER_HEADER = "x-forwarded-client-cert"
_URI = re.compile(r'(?:^|[;,])\s*URI="?([^;,"]+)')
_VIP = re.compile(r"spiffe://[^/]+/vip/[^/]+")
#: What a certificate says of its holder, by the names that gRPC has for it: the first that it has counts.
_NAMES = ("peer_uri", "peer_dns", "x509_common_name")
_SHOWN_MAX = 120


def principals_of(peer: Mapping[str, Sequence[bytes]]) -> tuple[str, ...]:
    """The names of whoever shows a certificate, as gRFC A43 has them."""
    for kind in _NAMES:
        if kind in peer:
            return tuple(name.decode("utf-8", "replace") for name in peer[kind])
    return ()


def name_problem(principals: Sequence[str], role: str, name: str) -> str | None:
    """Why whoever has these names is not the one of that role and name; None where it may be. A certificate that names
    nobody of the role says nothing of it: then the policy that let it in is all that there is to go by."""
    named = [found[1] for each in principals if (found := re.fullmatch(rf"spiffe://[^/]+/{role}/([^/]+)", each))]
    if not named or name in named:
        return None
    return (
        f"this certificate is {role} {plain(named[0])[:_SHOWN_MAX]}'s, and the name here is {plain(name)[:_SHOWN_MAX]}"
    )


class Guard:
    """Says whether a call may be made. `policy`: the one in force at the time."""

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy

    def refusal(self, path: str, principals: tuple[str, ...], caller: str | None) -> str | None:
        """Why a call is refused; None where it is not.

        Args:
            principals: Of the certificate that the connection shows.
            caller: What CALLER_HEADER says; it counts where a VIP has the connection, and nowhere else.
        """
        if caller is not None and any(map(_VIP.fullmatch, principals)):
            # The last is what the VIP itself has added.
            principals = tuple(_URI.findall(caller)[-1:])
        verdict = self._policy().verdict(principals, path)
        if verdict.allowed:
            return None
        who = plain(" ".join(principals) or "somebody without a name")[:_SHOWN_MAX]
        why = f"the rule {verdict.rule} denies it" if verdict.rule else "no rule allows it"
        return f"{who} may not call {plain(path)[:_SHOWN_MAX]}: {why} (`fasttree policy test` says what a role may)"
