"""`[tls]`: whether the parts of a cluster, and its clients, show each other certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from services.shared.config.bounds import OptionalFile, OptionalFolder, OptionalHost, Seconds
from services.shared.config.sections import Problem, Settings

MUTUAL: Final = "mutual"
CLEARTEXT: Final = "cleartext-in-a-closed-network"
#: As cert-manager names them in a Secret.
CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
CA_FILE: Final = "ca.crt"


class TlsError(Exception):
    """Files that can't be used: one line that names the file and the mend."""


class TlsSettings(Settings, frozen=True, kw_only=True):
    """Of every port and every connection of a process. Files are followed: what is renewed there is used without a
    restart."""

    #: off: no TLS, and a process that is told to listen on another address than loopback refuses to start. mutual: TLS
    #: everywhere, and both ends show a certificate of the authority. The third: no TLS, on whatever address: everybody
    #: who reaches a port may read and change everything.
    mode: Annotated[
        str,
        Meta(pattern=rf"\A(?:off|{MUTUAL}|{CLEARTEXT})\Z", description=f"off, {MUTUAL} or {CLEARTEXT}"),
    ] = "off"
    #: A folder with tls.crt, tls.key and ca.crt, as cert-manager writes them and `fasttree certs issue` does.
    folder: OptionalFolder = ""
    #: In place of the folder's tls.crt: the certificate, with those between it and the authority behind it, as PEM.
    certificate: OptionalFile = ""
    #: In place of the folder's tls.key: its private key, as PEM, without a password.
    key: OptionalFile = ""
    #: In place of the folder's ca.crt: the authorities whose certificates others may show, as PEM.
    ca: OptionalFile = ""
    #: The name that the certificate of whoever is dialled must have, where that is not the host that was dialled: for
    #: clusters whose parts know each other by addresses. Empty: the host.
    server_name: OptionalHost = ""
    #: The oldest version of TLS that is spoken. Where grpcio serves (`server`), it takes 1.2 whatever is said here.
    minimum_version: Annotated[str, Meta(pattern=r"\A1\.[23]\Z", description="1.2 or 1.3")] = "1.3"
    #: A file that says who may call what, in the form of gRFC A43; followed as the others are. Empty: the roles that
    #: are shipped, as `fasttree policy show` has them.
    policy: OptionalFile = ""
    #: A file with lists of revoked certificates (CRL, as PEM), each signed by an authority in ca.crt; `fasttree certs
    #: revoke` makes one. Followed as the others are: whoever shows one of these is refused. Empty: none is revoked.
    revoked_file: OptionalFile = ""
    #: How often the files are looked at, in seconds.
    reload_s: Seconds = 1.0

    @property
    def certificate_path(self) -> Path:
        """Where the certificate is."""
        return Path(self.certificate or Path(self.folder) / CERTIFICATE_FILE)

    @property
    def key_path(self) -> Path:
        """Where its key is."""
        return Path(self.key or Path(self.folder) / KEY_FILE)

    @property
    def ca_path(self) -> Path:
        """Where the authorities are."""
        return Path(self.ca or Path(self.folder) / CA_FILE)

    def problems(self) -> Iterator[Problem]:
        """Files that nobody named."""
        if self.mode == MUTUAL and not self.folder and not (self.certificate and self.key and self.ca):
            yield Problem("folder", "must be a folder with tls.crt, tls.key and ca.crt where mode is mutual")
