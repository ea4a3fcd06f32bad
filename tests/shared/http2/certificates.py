"""A certificate authority of a test's own, and what it signs."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Certificate:
    """Files of a certificate and its key, as PEM."""

    chain: Path
    key: Path


class Authority:
    """Signs certificates, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.root = folder / "root.pem"
        self._key = folder / "root.key"
        _request("-subj", "/CN=a test's authority", "-keyout", self._key, "-out", self.root)

    def signed(self, common_name: str, names: str = "DNS:localhost,IP:127.0.0.1") -> Certificate:
        """A new one, for these names."""
        made = Certificate(self._folder / f"{common_name}.pem", self._folder / f"{common_name}.key")
        extensions = ("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE")
        signed = ("-CA", self.root, "-CAkey", self._key)
        _request("-subj", f"/CN={common_name}", *extensions, *signed, "-keyout", made.key, "-out", made.chain)
        return made

    def server_context(self, certificate: Certificate, clients: ssl.VerifyMode = ssl.CERT_NONE) -> ssl.SSLContext:
        """A server's, which asks clients for certificates of this authority, or not."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.root))
        context.load_cert_chain(certificate.chain, certificate.key)
        context.verify_mode = clients
        context.set_alpn_protocols(["h2"])
        return context

    def client_context(self, *protocols: str) -> ssl.SSLContext:
        """A client's, which trusts this authority and offers these protocols."""
        context = ssl.create_default_context(cafile=str(self.root))
        if protocols:
            context.set_alpn_protocols(protocols)
        return context


def _request(*arguments: str | Path) -> None:
    subprocess.run(["openssl", "req", "-x509", *_KEY, *arguments], check=True, capture_output=True)
