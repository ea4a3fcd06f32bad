"""Certificates that count no more before their time: lists that authorities sign (CRL), in a file that is followed."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from services.shared.config.text_file import read_text_file
from services.shared.security.audit.log import note_change
from services.shared.security.audit.records import Kind
from services.shared.security.identity import UNREADABLE
from services.shared.security.settings import TlsError
from services.shared.security.stamps import stamp

logger = logging.getLogger(__name__)

_BYTES_MAX: Final = 16 << 20
_BLOCK: Final = re.compile(r"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
#: Certificates of peers about which it is remembered whether they are revoked.
_REMEMBERED_MAX: Final = 10_000

#: An issuer's name, as DER, and a serial number.
Serial = tuple[bytes, int]


def read_lists(path: Path, authorities: bytes, now: datetime.datetime) -> frozenset[Serial]:
    """What the lists in a file revoke. `authorities`: as PEM; each list has to be signed by one of them. Blocks. Raises
    TlsError, which names the file and the mend."""
    try:
        text = read_text_file(path, _BYTES_MAX)
    except OSError as error:
        raise TlsError(f"{path}: can't read what is revoked: {error.strerror or error}") from None
    certificates = x509.load_pem_x509_certificates(authorities)
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise TlsError(f"{path}: there is no list in it, as PEM (-----BEGIN X509 CRL-----)")
    try:
        # Its parts are read as they are asked for: what makes no sense in one is found there.
        return frozenset(serial for block in blocks for serial in _serials(path, block, certificates, now))
    except UNREADABLE:
        raise TlsError(f"{path}: a list in it can't be read: put what the authority gave there anew") from None


def _serials(
    path: Path, block: str, authorities: Sequence[x509.Certificate], now: datetime.datetime
) -> Iterator[Serial]:
    """Of one list."""
    revoked = x509.load_pem_x509_crl(block.encode())
    issuer, name = revoked.issuer.public_bytes(), revoked.issuer.rfc4514_string()
    if not any(_has_signed(authority, revoked) for authority in authorities):
        raise TlsError(f"{path}: a list of {name} is signed by no authority in ca.crt")
    if revoked.next_update_utc is not None and revoked.next_update_utc < now:
        logger.warning(
            "TLS: %s: the list of %s was to be renewed by %s; it counts as it is", path, name, revoked.next_update_utc
        )
    yield from ((issuer, each.serial_number) for each in revoked)


def _has_signed(authority: x509.Certificate, revoked: x509.CertificateRevocationList) -> bool:
    key = authority.public_key()
    try:
        return authority.subject == revoked.issuer and revoked.is_signature_valid(key)  # type: ignore[arg-type]
    except TypeError:  # a key that signs nothing
        return False


class Revoked:
    """What is revoked now. Any thread may ask.

    Args:
        file: Its path; empty: nothing is.
        authorities: Those of now, as PEM.

    Raises:
        TlsError: The file can't be used.
    """

    def __init__(self, file: str, authorities: Callable[[], bytes], now: Callable[[], datetime.datetime]) -> None:
        self._file, self._authorities, self._now = file, authorities, now
        self._stamp = stamp(file) if file else None
        #: What is wrong with the file as it is now.
        self.problem = ""
        #: Which ones, and what was found of them, by certificate as PEM: the two change together.
        self._state: tuple[frozenset[Serial], dict[bytes, bool]] = (self._read() if file else frozenset(), {})

    def has(self, peer: Mapping[str, Sequence[bytes]]) -> bool:
        """Whether the certificate that a connection shows is among them. `peer`: what TLS knows, by gRPC's names."""
        serials, known = self._state
        shown = peer.get("x509_pem_cert")
        if not (serials and shown):
            return False
        found = known.get(shown[0])
        if found is None:
            if len(known) >= _REMEMBERED_MAX:
                known.clear()
            certificate = x509.load_pem_x509_certificate(shown[0])
            found = known[shown[0]] = (certificate.issuer.public_bytes(), certificate.serial_number) in serials
        return found

    def look(self) -> bool:
        """Whether others are revoked since. Blocks: it reads the disk."""
        if not self._file:
            return False
        found = stamp(self._file)
        if found == self._stamp:
            return False
        self._stamp = found
        try:
            serials = self._read()
        except TlsError as error:
            self.problem = f"{error}; what was revoked before stays so"
            logger.error("TLS: %s", self.problem)
            note_change(Kind.POLICY, "INVALID_ARGUMENT", str(error))
            return False
        self.problem = ""
        if serials == self._state[0]:
            return False
        self._state = (serials, {})
        count = len(serials)
        logger.info("TLS: %s revoked", "1 certificate is" if count == 1 else f"{count} certificates are")
        note_change(Kind.POLICY, "OK", details={"revoked_certificates": len(serials)})
        return True

    def _read(self) -> frozenset[Serial]:
        return read_lists(Path(self._file), self._authorities(), self._now())
