"""Whom a certificate names: `spiffe://CLUSTER/ROLE/NAME`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from fasttree.command.session import CommandError

#: Processes of a cluster, each with a folder of files as its settings `[tls]` read them.
PARTS: Final = ("node", "pusher", "coordinator", "vip", "datatrax", "console")
#: What people and programs are to a cluster.
CLIENTS: Final = (
    "push-program",
    "importer",
    "reporter",
    "personal-reporter",
    "leader",
    "operator",
    "auditor",
    "monitor",
)
#: The list of certificates that count no more, beside those that lie there.
REVOKED: Final = "revoked.crl"
#: That list and, below it, the authority's certificate: what Envoy believes, as one file.
BELIEVED: Final = "believed.pem"
ROLES: Final = (*PARTS, *CLIENTS)

CLUSTER_FORM: Final = "1 to 48 of a-z 0-9 . _ -, as dot-live"
_CLUSTER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_URI: Final = re.compile(r"spiffe://([^/]+)(?:/([^/]+)/([^/]+))?")


class Holder(NamedTuple):
    """Who shows a certificate."""

    role: str
    name: str

    def __str__(self) -> str:
        return self.role if self.name == self.role else f"{self.role}/{self.name}"

    def uri(self, cluster: str) -> str:
        """As a certificate has it."""
        return f"{uri_of(cluster)}/{self.role}/{self.name}"


def uri_of(cluster: str) -> str:
    """A cluster's own name, which its authority has."""
    return f"spiffe://{cluster}"


def check_cluster(name: str) -> str:
    """The name, where a certificate may have it. Raises CommandError."""
    if not _CLUSTER.fullmatch(name):
        raise CommandError(f"{name!r} can't be a cluster's name in a certificate: {CLUSTER_FORM}")
    return name


def holder_of(text: str) -> Holder:
    """Of ROLE or ROLE/NAME. Raises CommandError, with what there is."""
    role, _, name = text.partition("/")
    if role not in ROLES:
        raise CommandError(f"{role!r} is no role; there are {', '.join(ROLES)}")
    name = name or role
    if role == "node" and name == role:
        raise CommandError("which node? write its name, as node/n1")
    if not _NAME.fullmatch(name):
        raise CommandError(f"{name!r} can't be a name in a certificate: 1 to 40 of A-Z a-z 0-9 . _ -")
    return Holder(role, name)


def named_in(uri: str) -> tuple[str, Holder | None] | None:
    """The cluster of a certificate's name, and whom it names there; None where it is none of ours."""
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    return found[1], Holder(found[2], found[3]) if found[2] else None
