"""The folder of an authority and what it signed.

ca.crt ca.key               the authority; its key is needed to issue and to renew, nowhere else
ROLE/NAME/                  a part of the cluster: tls.crt, tls.key and ca.crt, as `tls.folder` wants them
client-ROLE.crt .key        a client's; client-ROLE-NAME.crt where there are several of a role
revoked.crl                 which of them count no more
believed.pem                revoked.crl and ca.crt as one, for Envoy
issued/ROLE/NAME/           every certificate that was signed, until it expires, by its number: what there is to revoke
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fasttree.client.calls.pem import UNREADABLE
from fasttree.client.files import open_regular
from fasttree.command.certs.authority import BEFORE, Authority, Pair, cluster_of, hosts_of, new_authority, uris_of
from fasttree.command.certs.kept import BYTES_MAX, KeptCertificates, signed_by
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
        self._kept = KeptCertificates(path)

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
            return Authority(Pair(_content(self.ca), _content(self.ca_key)))
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
            write_durably(files.certificate.parent / CA, _content(self.ca))
        self._keep_replaced(authority, holder, files.certificate)
        pair = authority.issue(holder, hosts, lifetime)
        self._kept.keep(holder, pair.certificate)
        _write(files, pair)
        return files

    def _keep_replaced(self, authority: Authority, holder: Holder, path: Path) -> None:
        """One that lies there, perhaps of a version that kept none, is good yet when another one has its place."""
        with contextlib.suppress(CommandError):
            there = _read(path)
            if signed_by(there, authority.certificate):
                self._kept.keep(holder, there.public_bytes(serialization.Encoding.PEM))

    def serials_of(self, holder: Holder) -> list[int]:
        """The numbers of every certificate of the holder's, those that were renewed or carried away too. Raises
        CommandError where there is none, or another authority's lies there."""
        files, root = self.files(holder), _read(self.ca)
        serials = self._kept.serials(holder, root)
        if not files.certificate.exists():
            if not serials:
                raise CommandError(f"{holder}: {files.certificate} is not there: give the serial number, as 0x1A2B")
            return serials
        try:
            there = _read(files.certificate)
        except CommandError:
            if not serials:
                raise
            return serials
        if not signed_by(there, root):
            raise CommandError(f"{files.certificate} is another authority's: that one has to revoke it")
        return list(dict.fromkeys([there.serial_number, *serials]))

    def knows(self, serial: int) -> bool:
        """Whether a certificate of this authority's has that number, as far as it was kept."""
        return self._kept.has(serial) or any(each.ours and each.serial == serial for each in self.issued([]))

    def revoked_serials(self) -> list[int]:
        """Those of the list that lies here, or of the same one in Envoy's file where that is gone or damaged: nobody
        who was revoked is believed again. None where neither is there. Raises CommandError where they can't be read."""
        for path in (self.revoked, self.believed):
            try:
                return [each.serial_number for each in x509.load_pem_x509_crl(_content(path))]
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
        write_durably(self.believed, revoked + _content(self.ca))

    def renew(
        self, authority: Authority, faults: list[str] | None = None, *, all_of_them: bool = False
    ) -> list[Issued]:
        """New certificates in the places of those that are due, with the same names and the same length of life. One
        that can't be read keeps no other from it, and is told in `faults`; without them it raises CommandError."""
        renewed = []
        for each, holder in self._to_renew(faults):
            if all_of_them or each.due:
                self.issue(authority, holder, each.hosts, each.expires - each.begins - BEFORE)
                renewed.append(self.at(each.path))
        return renewed

    def is_any_due(self, faults: list[str]) -> bool:
        """Whether `renew` would renew one. One that can't be read is told in `faults`."""
        return any(each.due for each, _ in self._to_renew(faults))

    def _to_renew(self, faults: list[str] | None) -> list[tuple[Issued, Holder]]:
        found = []
        for each in self.issued(faults):
            named = named_in(each.uri)
            if each.ours and not each.revoked and named is not None and named[1] is not None:
                found.append((each, named[1]))
        return found

    def at(self, path: Path) -> Issued:
        """The one that lies there. Raises CommandError where it can't be read."""
        root, found = _read(self.ca), _read(path)
        return _told(path, found, path == self.ca or signed_by(found, root), set(self.revoked_serials()))

    def issued(self, faults: list[str] | None = None) -> Iterator[Issued]:
        """Every certificate that lies here, the authority first. One that can't be read is told in `faults` and passed
        over, or raises CommandError where there are none; the authority's does so anyway."""
        root, revoked = _read(self.ca), set(self.revoked_serials())
        yield _told(self.ca, root, True, revoked)
        for path in sorted(self.path.rglob("*.crt")):
            if path.name == CA:
                continue
            try:
                found = _read(path)
            except CommandError as error:
                if faults is None:
                    raise
                faults.append(str(error))
                continue
            yield _told(path, found, signed_by(found, root), revoked)


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


def _content(path: Path) -> bytes:
    """Raises OSError, with the file."""
    try:
        with open_regular(path) as file:
            return file.read(BYTES_MAX)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_content(path))[0]
    except OSError as error:
        mend = "begin with `fasttree certs init`" if path.name == CA else "put it back, or issue it anew"
        raise CommandError(f"{path} can't be read: {error.strerror}; {mend}") from None
    except UNREADABLE:
        mend = "put it back from a copy" if path.name == CA else "remove it, or issue it anew"
        raise CommandError(f"{path}: there is no certificate in it, as PEM: {mend}") from None


def _write(files: PairFiles, pair: Pair) -> None:
    """The key first: whoever reads in between finds that the two don't match, and looks again."""
    write_durably(files.key, pair.key)
    write_durably(files.certificate, pair.certificate)
