"""The folder of an authority and what it signed.

ca.crt ca.key               the authority; its key is needed to issue and to renew, nowhere else
ROLE/NAME/                  a part of the cluster: tls.crt, tls.key and ca.crt, as `tls.folder` wants them
client-ROLE.crt .key        a client's; client-ROLE-NAME.crt where there are several of a role
revoked.crl                 which of them count no more
believed.pem                revoked.crl and ca.crt as one, for Envoy
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from fasttree.client.calls.tls import UNREADABLE
from fasttree.command.certs.authority import BEFORE, Authority, Pair, cluster_of, hosts_of, new_authority, uris_of
from fasttree.command.certs.roles import BELIEVED, PARTS, REVOKED, Holder, named_in
from fasttree.command.session import CommandError
from services.shared.files.durable import make_folder, write_durably

CA: Final = "ca.crt"
_CA_KEY: Final = "ca.key"
#: What is left of a certificate's life when it is renewed, as a share of all of it.
RENEWED_BELOW: Final = 1 / 3


class PairFiles(NamedTuple):
    """Where a certificate and its key are."""

    certificate: Path
    key: Path


class Issued(NamedTuple):
    """A certificate that lies in the folder."""

    path: Path
    #: spiffe://…; empty where it has none.
    uri: str
    hosts: list[str]
    begins: datetime.datetime
    expires: datetime.datetime
    #: By the authority of this folder.
    ours: bool
    serial: int
    revoked: bool

    @property
    def left_s(self) -> float:
        """Until it is good no more."""
        return (self.expires - datetime.datetime.now(datetime.UTC)).total_seconds()

    @property
    def due(self) -> bool:
        """Whether it is time to renew it."""
        return self.left_s < (self.expires - self.begins).total_seconds() * RENEWED_BELOW


class CertificateFolder:
    """One such folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ca = path / CA
        self.ca_key = path / _CA_KEY
        #: What `tls.revoked_file` names.
        self.revoked = path / REVOKED
        #: What Envoy is given as `trusted_ca`.
        self.believed = path / BELIEVED

    def init(self, cluster: str, lifetime: datetime.timedelta, *, anew: bool = False) -> None:
        """Makes the authority. Raises CommandError where there is one, unless `anew`."""
        if self.ca.exists() and not anew:
            raise CommandError(
                f"{self.ca} is there: --anew puts another authority in its place, which nobody knows yet"
            )
        make_folder(self.path)
        self.path.chmod(0o700)
        _write(PairFiles(self.ca, self.ca_key), new_authority(cluster, lifetime))
        self._write_list(self.authority().revoked(()))

    @property
    def signs(self) -> bool:
        """Whether the authority's key is here, as it need not be while nothing is issued."""
        return self.ca_key.exists()

    @property
    def cluster(self) -> str:
        """Whose authority it is. Raises CommandError."""
        return cluster_of(_read(self.ca))

    def authority(self) -> Authority:
        """Raises CommandError where it is not here, or can't be used."""
        try:
            return Authority(Pair(self.ca.read_bytes(), self.ca_key.read_bytes()))
        except FileNotFoundError as error:
            if self.ca.exists():
                mend = "bring it back from where it is kept, to issue, renew or revoke anything"
            else:
                mend = f"begin with `fasttree certs init --dir {self.path}`"
            raise CommandError(f"{error.filename} is not there: {mend}") from None
        except OSError as error:
            raise CommandError(f"{error.filename} can't be read: {error.strerror}") from None

    def files(self, holder: Holder) -> PairFiles:
        """Where the holder's are."""
        if holder.role in PARTS:
            folder = self.path / holder.role / holder.name
            return PairFiles(folder / "tls.crt", folder / "tls.key")
        stem = f"client-{holder.role}" + ("" if holder.name == holder.role else f"-{holder.name}")
        return PairFiles(self.path / f"{stem}.crt", self.path / f"{stem}.key")

    def issue(
        self, authority: Authority, holder: Holder, hosts: Sequence[str], lifetime: datetime.timedelta
    ) -> PairFiles:
        """A new certificate, in the place of the one before."""
        files = self.files(holder)
        make_folder(files.certificate.parent)
        if holder.role in PARTS:
            files.certificate.parent.chmod(0o700)
            write_durably(files.certificate.parent / CA, self.ca.read_bytes())
        _write(files, authority.issue(holder, hosts, lifetime))
        return files

    def revoked_serials(self) -> list[int]:
        """Those of the list that lies here, or of the same one in Envoy's file where that is gone or damaged: nobody
        who was revoked is believed again. None where neither is there. Raises CommandError where they can't be read."""
        for path in (self.revoked, self.believed):
            try:
                return [each.serial_number for each in x509.load_pem_x509_crl(path.read_bytes())]
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CommandError(f"{path} can't be read: {error.strerror}") from None
            except UNREADABLE:
                continue
        if self.revoked.exists():
            raise CommandError(
                f"{self.revoked}: there is no list in it, as PEM: bring it back from a copy; without one, remove it "
                "and revoke again what was revoked"
            )
        return []

    def revoke(self, authority: Authority, serials: Sequence[int]) -> None:
        """They count no more, as those before."""
        known = self.revoked_serials()
        self._write_list(authority.revoked(list(dict.fromkeys([*known, *serials]))))

    def _write_list(self, revoked: bytes) -> None:
        write_durably(self.revoked, revoked)
        # Envoy takes a list that is empty for none, and lets everybody in; a file of authorities that is empty, or has
        # none in it, it refuses. So the list stands in that file, and first: whatever is cut off of it, an authority is
        # the first to go.
        write_durably(self.believed, revoked + self.ca.read_bytes())

    def renew(self, authority: Authority, *, all_of_them: bool = False) -> list[Issued]:
        """New certificates in the places of those that are due, with the same names and the same length of life."""
        renewed = []
        for each, holder in list(self._to_renew()):
            if all_of_them or each.due:
                self.issue(authority, holder, each.hosts, each.expires - each.begins - BEFORE)
                renewed += [now for now in self.issued() if now.path == each.path]
        return renewed

    @property
    def is_any_due(self) -> bool:
        """Whether `renew` would renew one. Raises CommandError."""
        return any(each.due for each, _ in self._to_renew())

    def _to_renew(self) -> Iterator[tuple[Issued, Holder]]:
        for each in self.issued():
            named = named_in(each.uri)
            if each.ours and not each.revoked and named is not None and named[1] is not None:
                yield each, named[1]

    def issued(self) -> Iterator[Issued]:
        """Every certificate that lies here, the authority first. Raises CommandError where one can't be read."""
        root, revoked = _read(self.ca), set(self.revoked_serials())
        yield _told(self.ca, root, True, revoked)
        for path in sorted(self.path.rglob("*.crt")):
            if path.name != CA:
                found = _read(path)
                yield _told(path, found, _signed_by(found, root), revoked)


def _signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except Exception:  # another's: cryptography has several words for that
        return False
    return True


def _told(path: Path, found: x509.Certificate, ours: bool, revoked: Collection[int]) -> Issued:
    uris = uris_of(found)
    return Issued(
        path,
        uris[0] if uris else "",
        hosts_of(found),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        ours,
        found.serial_number,
        ours and found.serial_number in revoked,
    )


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}; begin with `fasttree certs init`") from None
    except UNREADABLE:
        raise CommandError(f"{path}: there is no certificate in it, as PEM") from None


def _write(files: PairFiles, pair: Pair) -> None:
    """The key first: whoever reads in between finds that the two don't match, and looks again."""
    write_durably(files.key, pair.key)
    write_durably(files.certificate, pair.certificate)
