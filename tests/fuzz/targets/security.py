"""What says who somebody is, and what he may: tokens, keys, policies, lists of what is revoked, the audit log."""

from __future__ import annotations

import base64
import datetime
import json
import time
from functools import partial
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.shared.security.audit.chain import ChainFile
from services.shared.security.audit.files import OPERATIONS, file_of
from services.shared.security.audit.verifying import verify
from services.shared.security.policy import read_policy
from services.shared.security.revoked import read_lists
from services.shared.security.roles import shipped_policy
from services.shared.security.settings import TlsError
from services.shared.security.tokens.bearer import TokenError
from services.shared.security.tokens.keys import read_keys
from services.shared.security.tokens.revocation import read_revoked
from services.shared.security.tokens.verifying import Verifier
from tests.fuzz.target import Run, Target, scratch
from tests.shared.security.tokens.issuer import Issuer, settings

_NOW = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)
_ISSUER = Issuer("EC")
_KEYS = json.dumps({"keys": [_ISSUER.public(), Issuer("OKP", "k2").public()]})


def _tokens() -> Run:
    verifier = Verifier(settings("keys.json"))
    verifier.use(keys=read_keys(_KEYS, "keys.json"))

    def run(data: bytes) -> None:
        verifier.bearer(data.decode("latin-1"))

    return run


def _signed() -> Run:
    """Tokens that are signed well, whatever they say."""
    verifier = Verifier(settings("keys.json"))
    verifier.use(keys=read_keys(_KEYS, "keys.json"))

    def run(data: bytes) -> None:
        head = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"k1"}').rstrip(b"=")
        signed = head + b"." + base64.urlsafe_b64encode(data).rstrip(b"=")
        signature = _signature(signed)
        verifier.bearer("Bearer " + (signed + b"." + signature).decode())

    return run


def _signature(content: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(_ISSUER.key.private_key.sign(content, ec.ECDSA(hashes.SHA256())))
    return base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")


def _keys() -> Run:
    def run(data: bytes) -> None:
        read_keys(data.decode(errors="replace"), "keys.json")

    return run


def _file_reader(read: object) -> Run:
    path = scratch()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read(path)  # type: ignore[operator]

    return run


def _policies() -> Run:
    def read(path: Path) -> None:
        policy = read_policy(path)
        policy.verdict(("spiffe://c/node/n1",), "/fasttree.v1.TreeNodeService/GetNode")

    return _file_reader(read)


def _authority() -> tuple[bytes, bytes]:
    """A certificate and a list of it, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, _NOW, _NOW + day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    revoked = x509.RevokedCertificateBuilder(9, _NOW).build()
    listed = (
        x509.CertificateRevocationListBuilder(name, _NOW, _NOW + day)
        .add_revoked_certificate(revoked)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), listed.public_bytes(serialization.Encoding.PEM)


_CERTIFICATE, _LIST = _authority()


def _lists() -> Run:
    return _file_reader(lambda path: read_lists(path, _CERTIFICATE, _NOW))


def _lists_by_bytes() -> Run:
    """The same, mutated before it is text."""
    read = _lists()

    def run(data: bytes) -> None:
        body = base64.encodebytes(data)
        read(b"-----BEGIN X509 CRL-----\n" + body + b"-----END X509 CRL-----\n")

    return run


def _audits() -> Run:
    folder = scratch().parent

    def run(data: bytes) -> None:
        file_of(folder, OPERATIONS, 1).write_bytes(data)
        for each in verify(folder):
            assert each.records >= 0

    return run


def _audit_log() -> bytes:
    """As a service writes it."""
    folder = scratch().parent
    chain = ChainFile(folder, OPERATIONS, "pusher", 1 << 20, 2)
    for now_s in (1.0, 2.0, 3.0):
        chain.open(now_s)
        chain.close()
    return file_of(folder, OPERATIONS, 1).read_bytes()


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


TARGETS = [
    Target("security.tokens", _tokens, (TokenError,), lambda: [_ISSUER.bearer().encode()], 2_048),
    Target(
        "security.tokens-signed",
        _signed,
        (TokenError,),
        lambda: [
            b'{"iss":"https://login.example.com","aud":"fasttree","sub":"a","jti":"t","exp":%d,"role":"leader",'
            b'"member_id":"A"}' % (time.time() + 300)
        ],
        1_024,
    ),
    Target("security.keys", _keys, (TlsError,), lambda: [_KEYS.encode()]),
    Target(
        "security.token-revocations",
        partial(_file_reader, read_revoked),
        (TlsError,),
        lambda: [b"# these\njti t1\nsub alice\n"],
    ),
    Target(
        "security.policies",
        _policies,
        (TlsError,),
        lambda: [msgspec.json.encode(shipped_policy("c").content)],
        32_768,
    ),
    Target("security.revocation-lists", _lists, (TlsError,), lambda: [_LIST]),
    Target("security.revocation-lists-der", _lists_by_bytes, (TlsError,), lambda: [_der(_LIST)]),
    Target("security.audit-logs", _audits, (OSError,), lambda: [_audit_log()]),
]
