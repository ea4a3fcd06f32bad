"""The certificates of a cluster on this machine: made at its first start, renewed while it runs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fasttree.client import TlsFiles
from fasttree.command.certs.roles import BELIEVED, CLIENTS, REVOKED, Holder, check_cluster
from fasttree.command.local.cluster_folder import ClusterFolder

if TYPE_CHECKING:
    from fasttree.command.certs.folder import CertificateFolder

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

    def prepare(self, parts: Sequence[Holder]) -> None:
        """The parts' certificates and one for each role of a client: those that there are not, and those that are due
        or of other hosts. Raises CommandError."""
        folder = self._folder()
        if not folder.ca.exists():
            folder.init(self.cluster, ROOT_LIFETIME)
        authority = folder.authority()
        if not (folder.revoked.exists() and folder.believed.exists()):  # of a version before
            folder.revoke(authority, ())
        there = {each.uri: each for each in folder.issued() if each.ours}
        clients = [Holder(role, role) for role in CLIENTS]
        for holder, hosts in (*((part, self._hosts) for part in parts), *((client, []) for client in clients)):
            found = there.get(holder.uri(authority.cluster))
            if found is None or found.due or sorted(found.hosts) != sorted(hosts):
                folder.issue(authority, holder, hosts, LIFETIME)

    def renew(self) -> None:
        """Those that are due. Raises CommandError."""
        folder = self._folder()
        folder.renew(folder.authority())

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
