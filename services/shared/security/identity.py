"""A certificate, its key and the authorities, read from files and checked whole; what TLS needs is made of them."""

from __future__ import annotations

import contextlib
import datetime
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from cryptography import x509

from services.shared.config.text_file import read_text_file
from services.shared.security.settings import TlsError

#: A chain of certificates, or the authorities of a company.
_BYTES_MAX: Final = 1 << 20
#: What HTTP/2 is called, and what a browser speaks.
HTTP2: Final = "h2"
HTTP1: Final = "http/1.1"

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
#: What x509 raises of what it can't read: not all of it is a ValueError.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class TlsFiles(NamedTuple):
    """Where they are, as PEM."""

    certificate: Path
    key: Path
    ca: Path


class Contents(NamedTuple):
    """What is in them."""

    certificate: bytes
    key: bytes
    ca: bytes


class Identity:
    """One state of the files, good at the time: the pair belongs together, and is neither expired nor too early.

    Args:
        minimum_version: Of TLS, such as "1.3".
        now: For the certificate's dates.
        without_certificate: Whether clients of HTTP/2 may have none.

    Raises:
        TlsError: It is not good.
    """

    def __init__(
        self, files: TlsFiles, minimum_version: str, now: datetime.datetime, without_certificate: bool = False
    ) -> None:
        self.contents = Contents(*(_read(path) for path in files))
        self._minimum_version = minimum_version
        self._certificate_needed = {HTTP2: not without_certificate, HTTP1: False}
        leaf = _leaf(files.certificate, self.contents.certificate)
        self.expires: datetime.datetime = leaf.not_valid_after_utc
        #: URI names, such as spiffe://dot-live/node/n1.
        self.uris = _uris(leaf)
        if self.expires <= now:
            raise TlsError(f"{files.certificate}: it has expired ({self.expires:%Y-%m-%d %H:%M:%S} UTC): renew it")
        if leaf.not_valid_before_utc > now:
            begins = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
            raise TlsError(f"{files.certificate}: it is good from {begins} on: is this machine's clock right?")
        try:
            self._servers = {protocol: self._server_context(protocol) for protocol in (HTTP2, HTTP1)}
            self.client_context = self._client_context()
        except ssl.SSLError as error:
            raise _unusable(files, error) from None

    def server_context(self, protocol: str) -> ssl.SSLContext:
        """For a server of `HTTP2`, whose clients must have a certificate, unless they may call by a token alone; or of
        `HTTP1`, whose clients may have none: probes have none, and who has may ask for more."""
        return self._servers[protocol]

    def _server_context(self, protocol: str) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED if self._certificate_needed[protocol] else ssl.CERT_OPTIONAL
        # A session that is taken up again was checked by the authorities of then.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        context.set_alpn_protocols([protocol])
        return context

    def _client_context(self) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols([HTTP2])
        return context

    def _context(self, kind: int) -> ssl.SSLContext:
        context = ssl.SSLContext(kind)
        context.minimum_version = _VERSIONS[self._minimum_version]
        context.load_verify_locations(cadata=self.contents.ca.decode("ascii", "replace"))
        # By a file that is in memory alone: between reading and loading, nobody can put others in their place.
        with _in_memory(self.contents.certificate) as chain, _in_memory(self.contents.key) as key:
            context.load_cert_chain(chain, key, password=_no_password)
        return context


def _read(path: Path) -> bytes:
    try:
        return read_text_file(path, _BYTES_MAX).encode()
    except OSError as error:
        raise TlsError(
            f"{path}: can't read it: {error.strerror or error}: give it to this user, or name another"
        ) from None


def _leaf(path: Path, pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except UNREADABLE:
        raise TlsError(f"{path}: there is no certificate in it, as PEM (-----BEGIN CERTIFICATE-----)") from None


def _uris(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


def _unusable(files: TlsFiles, error: ssl.SSLError) -> TlsError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return TlsError(f"{files.key}: it is not the key of {files.certificate}: put both from one issue there")
    if error.reason in ("NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE") or error.reason is None:
        return TlsError(f"{files.ca} or {files.key}: there is no certificate, or no key, in it as PEM")
    return TlsError(f"{files.certificate}, {files.key}, {files.ca}: they can't be used: {error.reason}")


def _no_password() -> NoReturn:
    raise TlsError("the key has a password, which nobody can type here: keep it without one, for its owner alone")


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("fasttree-tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
