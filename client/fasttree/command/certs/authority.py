"""An authority: a certificate that signs others. By the package cryptography; nothing of it is our own."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fasttree.client.calls.pem import UNREADABLE
from fasttree.command.certs.roles import Holder, named_in, uri_of
from fasttree.command.session import CommandError

#: A certificate is good from a moment before it was made: clocks differ.
BEFORE: Final = datetime.timedelta(minutes=5)
#: A part of a host's name, as resolvers take it, and how long the whole may be (RFC 1123).
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HOST_LENGTH_MAX: Final = 253


class Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """One cluster's.

    Raises:
        CommandError: It is none that `fasttree certs init` made, or the key is another's.
    """

    def __init__(self, pair: Pair) -> None:
        try:
            self.certificate = x509.load_pem_x509_certificate(pair.certificate)
            key = serialization.load_pem_private_key(pair.key, None)
        except UNREADABLE:
            raise CommandError(
                "ca.crt or ca.key can't be read: there is no certificate, or no key without a password, in it as PEM: "
                "put both back from a copy"
            ) from None
        if key.public_key() != self.certificate.public_key() or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CommandError("ca.key is not the key of ca.crt: put both from one `fasttree certs init` there")
        self._key = key
        self.cluster = cluster_of(self.certificate)

    def issue(self, holder: Holder, hosts: Sequence[str], lifetime: datetime.timedelta) -> Pair:
        """A certificate for whoever has the key, which is good as server's and as client's, for no longer than the
        authority itself, since nobody believes it then: what looks at its end tells in time. `hosts`: names and
        addresses at which others dial it. Raises CommandError where the authority itself is not good any more."""
        now = datetime.datetime.now(datetime.UTC)
        if self.certificate.not_valid_after_utc <= now:
            raise CommandError("ca.crt has expired: `fasttree certs init --anew`, then renew all certificates")
        key = ec.generate_private_key(ec.SECP256R1())
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        certificate = (
            _builder(
                f"{holder.role}/{holder.name}", key, now, min(now + lifetime, self.certificate.not_valid_after_utc)
            )
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_names([holder.uri(self.cluster)], hosts), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pem(certificate, key)

    def revoked(self, serials: Sequence[int]) -> bytes:
        """The list of certificates that count no more (CRL), as PEM."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BEFORE)
            .next_update(max(self.certificate.not_valid_after_utc, now))
            # Two authorities of one cluster have one name: which of them has signed, proxies see by its key.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1_000_000)), critical=False)
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def new_authority(cluster: str, lifetime: datetime.timedelta) -> Pair:
    """An authority for a cluster."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = _builder(f"FastTree {cluster}", key, now, now + lifetime)
    certificate = (
        builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"FastTree {cluster}")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(_names([uri_of(cluster)], ()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(certificate, key)


def cluster_of(authority: x509.Certificate) -> str:
    """Whose it is. Raises CommandError where it names none."""
    clusters = [named[0] for uri in uris_of(authority) if (named := named_in(uri)) and named[1] is None]
    if not clusters:
        raise CommandError("ca.crt names no cluster: it is none that `fasttree certs init` made")
    return clusters[0]


def uris_of(certificate: x509.Certificate) -> list[str]:
    """Its URI names."""
    names = _alternative_names(certificate)
    return names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The hosts that it is good for."""
    names = _alternative_names(certificate)
    if names is None:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _builder(
    name: str, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, ends: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _names(uris: Sequence[str], hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([*map(x509.UniformResourceIdentifier, uris), *map(_host, hosts)])


def check_host(host: str) -> str:
    """The name or address, where somebody can dial it: without a scheme, a port or a network's size; `*.` may begin a
    name. Raises CommandError."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        labels = host.removeprefix("*.").split(".")
        if not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdecimal() or len(host) > _HOST_LENGTH_MAX:
            raise CommandError(
                f"{host!r} is no host's name or address: write it alone, as ftsp01.example.com, 10.0.0.1 or fd00::1"
            ) from None
    return host


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise CommandError(f"{host!r} is no host's name or address") from None


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
