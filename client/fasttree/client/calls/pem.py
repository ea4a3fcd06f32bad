"""Certificates, keys and authorities as files in PEM: read, and held against each other."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fasttree.client.errors import TlsFilesError
from fasttree.client.files import open_regular

if TYPE_CHECKING:
    from fasttree.client.calls.tls import TlsFiles

_BYTES_MAX: Final = 1 << 20
#: What x509 raises of what it can't read: not all of it is a ValueError.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """What a channel is opened with. Raises TlsFilesError where the files can't be used, or don't go together."""
    if not (files.certificate or files.key):
        with usable(files):
            x509.load_pem_x509_certificates(ca := read(files.ca))
        return grpc.ssl_channel_credentials(ca)
    certificate, key, ca = read(files.certificate), read(files.key), read(files.ca)
    with usable(files):
        leaf = x509.load_pem_x509_certificates(certificate)[0]
        x509.load_pem_x509_certificates(ca)
        if serialization.load_pem_private_key(key, None).public_key() != leaf.public_key():
            raise TlsFilesError(f"{files.key} is not the key of {files.certificate}: take both from one issue")
    expires = leaf.not_valid_after_utc
    if expires <= datetime.datetime.now(datetime.UTC):
        raise TlsFilesError(f"{files.certificate} has expired ({expires:%Y-%m-%d %H:%M:%S} UTC): renew it")
    return grpc.ssl_channel_credentials(ca, key, certificate)


def read(path: str) -> bytes:
    """A file's content. Raises TlsFilesError."""
    try:
        with open_regular(Path(path)) as file:
            return file.read(_BYTES_MAX)
    except OSError as error:
        raise TlsFilesError(f"{path} can't be read: {error.strerror or error}") from None


@contextlib.contextmanager
def usable(files: TlsFiles) -> Iterator[None]:
    """Turns what the libraries say of files into one line."""
    try:
        yield
    except (*UNREADABLE, ssl.SSLError, OSError) as error:
        why = "it has a password" if "assword" in str(error) else "there is no certificate, or no key, in one as PEM"
        raise TlsFilesError(f"{files.certificate}, {files.key}, {files.ca} can't be used: {why}") from None
