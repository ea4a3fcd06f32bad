"""The certificates of a cluster on this machine: made at its first start, renewed while it runs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fasttree.client import TlsFiles
from fasttree.client.status.problems import CERTIFICATE_OVER_S
from fasttree.command.certs.roles import BELIEVED, CLIENTS, REVOKED, Holder, check_cluster
from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.session import CommandError

if TYPE_CHECKING:
    from fasttree.command.certs.folder import CertificateFolder, Issued

ROOT_LIFETIME: Final = datetime.timedelta(days=1_825)
LIFETIME: Final = datetime.timedelta(days=30)
#: What the command is, where its endpoints file is this cluster's.
_OWN: Final = Holder("operator", "operator")


class ClusterCertificates:
    """Those in one folder. Every method but `settings` and `client` reads or writes the disk.

    Args:
        host: Where everything listens.
    """

    def __init__(self, path: Path, cluster: str, host: str) -> None:
        self._path = path
        self.cluster = check_cluster(cluster)
        self._hosts = list(dict.fromkeys([host.strip("[]"), "localhost"])) if is_loopback(host) else [host.strip("[]")]

    def prepare(self, parts: Sequence[Holder]) -> str:
        """The parts' certificates and one for each role of a client: those that there are not, and those that are due
        or of other hosts. What somebody should know of it, in one line; else nothing.

        Raises CommandError; where the authority's key is kept elsewhere, if something has to be signed now.
        """
        folder = self._folder()
        if not folder.ca.exists():
            folder.init(self.cluster, ROOT_LIFETIME)
        if not folder.signs:
            return self._without_key(folder, parts)
        authority = folder.authority()
        if not _has_list(folder):
            folder.revoke(authority, ())
        for holder, hosts, found in self._wanted(folder, parts):
            if found is None or found.due or sorted(found.hosts) != sorted(hosts):
                folder.issue(authority, holder, hosts, LIFETIME)
        return ""

    def _wanted(
        self, folder: CertificateFolder, parts: Sequence[Holder]
    ) -> list[tuple[Holder, list[str], Issued | None]]:
        """Who is to have a certificate, of which hosts, and the one that lies there."""
        # One that can't be read is made anew, as one that is not there.
        there = {each.uri: each for each in folder.issued([]) if each.ours}
        clients = [Holder(role, role) for role in CLIENTS]
        wanted = [*((part, self._hosts) for part in parts), *((client, []) for client in clients)]
        return [(holder, hosts, there.get(holder.uri(folder.cluster))) for holder, hosts in wanted]

    def _without_key(self, folder: CertificateFolder, parts: Sequence[Holder]) -> str:
        """As `prepare`."""
        needed, due = [], []
        for holder, hosts, found in self._wanted(folder, parts):
            if found is None:
                needed.append(f"{holder} has no certificate")
            elif sorted(found.hosts) != sorted(hosts):
                needed.append(f"{holder} has one of other hosts")
            elif found.left_s < CERTIFICATE_OVER_S:
                needed.append(f"that of {holder} is good for less than a day")
            elif found.due:
                due.append(found.left_s)
        if not _has_list(folder):
            needed.append("the list of those that count no more is not there")
        key = f"{folder.ca_key} is not there"
        if needed:
            more = f", and {len(needed) - 1} more" if len(needed) > 1 else ""
            raise CommandError(
                f"{key}, and something has to be signed ({needed[0]}{more}): bring it back from where it is kept"
            )
        told = f", within {min(due) / 86_400:.0f} days" if due else ""
        return f"{key}: nothing needs it now; bring it back before a certificate has to be renewed{told}"

    def renew(self) -> None:
        """Those that are due. Raises CommandError, once all others are renewed, where one can't be read."""
        folder = self._folder()
        faults: list[str] = []
        if folder.is_any_due(faults):
            faults = []
            folder.renew(folder.authority(), faults)
        if faults:
            raise CommandError("; ".join(faults))

    def folder_of(self, part: Holder) -> Path:
        """Where the part's files are."""
        return self._path / part.role / part.name

    def settings(self, part: Holder) -> tuple[str, ...]:
        """By which the part shows its own."""
        return "tls.mode=mutual", f"tls.folder={self.folder_of(part)}", f"tls.revoked_file={self.revoked}"

    @property
    def revoked(self) -> Path:
        """The list of those that count no more."""
        return self._path / REVOKED

    @property
    def believed(self) -> Path:
        """The same with the authority, as Envoy takes it."""
        return self._path / BELIEVED

    @property
    def client(self) -> TlsFiles:
        """Whoever has the endpoints file is an operator."""
        return TlsFiles.in_folder(self._path / f"client-{_OWN.role}")

    def _folder(self) -> CertificateFolder:
        # What makes certificates takes a while to import, which a cluster without them need not wait for.
        from fasttree.command.certs.folder import CertificateFolder

        return CertificateFolder(self._path)


def _has_list(folder: CertificateFolder) -> bool:
    """One of a version before may have none."""
    return folder.revoked.exists() and folder.believed.exists()


def certificates_of(home: ClusterFolder, by_tls: bool | None, host: str, cluster: str) -> ClusterCertificates | None:
    """Those of the cluster, where it is to have some. Raises CommandError."""
    if not (home.certs.exists() if by_tls is None else by_tls):
        return None
    return ClusterCertificates(home.certs, cluster, host)


def cluster_name(home: ClusterFolder, configured: str, assignments: tuple[str, ...]) -> str:
    """As its processes will have it. `configured`: by CBLDATATRAX; empty: it says none. Raises CommandError."""
    name = configured or home.cluster_name()
    for assignment in assignments:
        field, _, value = assignment.partition("=")
        name = value if field == "cluster.name" else name
    return name


def is_loopback(host: str) -> bool:
    """Whether that is an address of this machine alone."""
    return host == "localhost" or host.startswith("127.") or host.strip("[]") == "::1"
