"""The one place where a call is let in or refused, before anything of its own looks at it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from services.shared.domain.sentences import plain
from services.shared.security.caller import Caller
from services.shared.security.expiry import Expiries
from services.shared.security.policy import Policy
from services.shared.security.roles import TOKEN, is_inside
from services.shared.security.tokens.bearer import EXPIRED, INVALID, REVOKED, Bearer, TokenError

#: By which Envoy and HAProxy say whose call it is; they throw away what a caller says there.
CALLER_HEADER = "x-forwarded-client-cert"
_URI = re.compile(r'(?:^|[;,])\s*URI="?([^;,"]+)')
_VIP = re.compile(r"spiffe://[^/]+/vip/[^/]+")
_LEADER = re.compile(r"spiffe://[^/]+/leader/([^/]+)")
#: What a certificate says of its holder, by the names that gRPC has for it: the first that it has counts.
_URI_NAMES = "peer_uri"
_NAMES = (_URI_NAMES, "peer_dns", "x509_common_name")
_SHOWN_MAX = 120
#: Holders of certificates that are remembered.
_CALLERS_MAX = 10_000
#: What is said to whoever sends a token that does not count. Why, the log of the process says.
_TOKEN_MENDS: Final = {
    INVALID: "the token is not one that counts here: log in again, or ask who runs this cluster, whose log says why",
    EXPIRED: "the token has expired: log in again",
    REVOKED: "the token is revoked: log in again",
}
#: The same where a stream is under way that was opened with it.
_STREAM_MENDS: Final = {
    INVALID: "the token that this stream was opened with counts no more: log in again, then open it anew",
    EXPIRED: "the token that this stream was opened with has expired: log in again, then open it anew",
    REVOKED: "the token that this stream was opened with is revoked: log in again, then open it anew",
}


def principals_of(peer: Mapping[str, Sequence[bytes]]) -> tuple[str, ...]:
    """The names of whoever shows a certificate, as gRFC A43 has them.

    Of those, none is a token's; and one that has the form of a URI counts as a URI alone: an authority that looks at
    the URIs that it signs may let everybody choose his common name.
    """
    for kind in _NAMES:
        if kind in peer:
            names = (name.decode("utf-8", "replace") for name in peer[kind])
            return tuple(
                each for each in names if not each.startswith(TOKEN) and (kind == _URI_NAMES or "://" not in each)
            )
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


class Refusal(NamedTuple):
    """Why a call is not let in."""

    text: str
    #: As a program is told it.
    reason: str
    #: Nobody knows who calls; else it is known, and he may not.
    unauthenticated: bool = False
    #: His names, where they are known.
    principals: tuple[str, ...] = ()


_REVOKED: Final = Refusal("this certificate is revoked: show another one", "CERTIFICATE_REVOKED", True)


class _Tokens(Protocol):
    """What knows tokens."""

    def bearer(self, authorization: str) -> Bearer:
        """Whose that is. Raises TokenError."""


class _Revoked(Protocol):
    """What knows certificates that count no more."""

    def has(self, peer: Mapping[str, Sequence[bytes]]) -> bool:
        """Whether that peer's is one of them."""


_ANYBODY: Final = Caller(())


class Guard:
    """Says whether a call may be made, and whose downline it sees.

    Args:
        policy: The one in force at the time.
        tokens: Whose word counts for calls that bring one; None: tokens are refused.
        revoked: Certificates that count no more; None: there are none.
        in_clear: Connections show no certificates, so a call without a token is let in, whoever makes it.
        name_needed: Connections may come without a certificate, so a call without a name is nobody's.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        tokens: _Tokens | None = None,
        revoked: _Revoked | None = None,
        *,
        in_clear: bool = False,
        name_needed: bool = False,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._revoked = revoked
        self._in_clear = in_clear
        self._name_needed = name_needed
        self._expiries = Expiries()
        self._callers: dict[tuple[str, ...], Caller] = {}

    def judge_peer(
        self,
        path: str,
        peer: Mapping[str, Sequence[bytes]],
        told: str | None = None,
        authorization: str | None = None,
    ) -> Caller | Refusal:
        """The same as `judge` of what TLS knows of a connection's peer, by the names that gRPC has for it."""
        principals = principals_of(peer)
        if self.is_revoked(peer):
            return _REVOKED._replace(principals=principals)
        return self.judge(path, principals, told, authorization)

    def is_revoked(self, peer: Mapping[str, Sequence[bytes]]) -> bool:
        """Whether nobody with that certificate is heard any more, nor believed."""
        return self._revoked is not None and self._revoked.has(peer)

    def ended(self, caller: Caller, peer: Mapping[str, Sequence[bytes]], authorization: str | None) -> Refusal | None:
        """Why a stream that was let in must not go on: what it was opened with counts no more. The streams of a
        cluster's own parts outlive a certificate, so that nothing hangs on when a renewed one is taken."""
        if caller.by_token:
            found = self._bearer(authorization or "", caller.by)
            if isinstance(found, Caller):
                return None
            return found._replace(text=_STREAM_MENDS.get(found.reason, found.text), principals=caller.principals)
        if self.is_revoked(peer):
            return _REVOKED._replace(principals=caller.principals)
        if not is_inside(principals_of(peer)) and self._expiries.is_over(peer):
            text = "the certificate that this stream was opened with has expired: open it anew with one that is good"
            return Refusal(text, "CERTIFICATE_EXPIRED", True, caller.principals)
        return None

    def judge(
        self, path: str, principals: tuple[str, ...], told: str | None = None, authorization: str | None = None
    ) -> Caller | Refusal:
        """Who makes the call, or why nobody does.

        Args:
            principals: Of the certificate that the connection shows; empty where there is none.
            told: What CALLER_HEADER says; it counts where a VIP has the connection, and nowhere else.
            authorization: What the call says there. It counts alone: whoever hands a caller's token on has no more
                rights in that call than the caller, whatever certificate he shows.
        """
        if told is not None and any(map(_VIP.fullmatch, principals)):
            # The last is what the VIP itself has added.
            principals = tuple(each for each in _URI.findall(told)[-1:] if not each.startswith(TOKEN))
        if authorization is not None:
            caller = self._bearer(authorization, principals)
            if isinstance(caller, Refusal):
                return caller
        elif self._in_clear:
            return _ANYBODY
        else:
            if self._name_needed and not principals:
                return Refusal("show a certificate of the cluster's authority, or send a token", "NOBODY", True)
            caller = self._holder(principals)
        verdict = self._policy().verdict(caller.principals, path)
        if verdict.allowed:
            return caller
        who = plain(" ".join(caller.principals) or "somebody without a name")[:_SHOWN_MAX]
        why = f"the rule {verdict.rule} denies it" if verdict.rule else "no rule allows it"
        text = f"{who} may not call {plain(path)[:_SHOWN_MAX]}: {why} (`fasttree policy test` says what a role may)"
        return Refusal(text, "NOT_ALLOWED", principals=caller.principals)

    def rule_of(self, principals: tuple[str, ...], path: str) -> tuple[str, str]:
        """The policy's name, and that of the rule that decides about such a call; empty: none does."""
        policy = self._policy()
        return policy.content.name, policy.verdict(principals, path).rule

    def _bearer(self, authorization: str, by: tuple[str, ...]) -> Caller | Refusal:
        if self._tokens is None:
            return Refusal("no tokens are taken here: tokens.keys says whose are", "TOKENS_NOT_TAKEN", True)
        try:
            bearer = self._tokens.bearer(authorization)
        except TokenError as error:
            return Refusal(_TOKEN_MENDS[error.reason], error.reason, True)
        return Caller(bearer.principals, bearer.leads, by, by_token=True, policy=self._policy)

    def _holder(self, principals: tuple[str, ...]) -> Caller:
        """Of a certificate: a leader's name in it is the id of the member that he is."""
        found = self._callers.get(principals)
        if found is None:
            if len(self._callers) >= _CALLERS_MAX:
                self._callers.clear()
            leaders = [named[1] for each in principals if (named := _LEADER.fullmatch(each))]
            leads = leaders[0] if leaders else None
            found = self._callers[principals] = Caller(principals, leads, policy=self._policy)
        return found
