"""The certificate that a client shows, and whose it believes: files, read again once they have changed."""

from __future__ import annotations

import logging
import os
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from fasttree.client.errors import TlsFilesError

logger = logging.getLogger(__name__)

#: A folder of files, for clients that are told nothing else.
VARIABLE: Final = "FASTTREE_TLS_DIR"
#: How often the files are looked at, while calls are made.
_LOOK_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Where they are, as PEM: the certificate with its key, which says who the client is, and the authorities.

    Certificate and key may both be empty, where a token says who calls. `server_name`: what the servers' certificates
    say, where that is not the host that is dialled.
    """

    certificate: str
    key: str
    ca: str
    server_name: str = ""

    @classmethod
    def in_folder(cls, folder: Path | str, server_name: str = "") -> TlsFiles:
        """tls.crt, tls.key and ca.crt of a folder; or NAME.crt and NAME.key beside a ca.crt, where the folder's name is
        such a NAME. Raises TlsFilesError where there is neither."""
        folder = Path(folder)
        beside = [folder.with_name(folder.name + end) for end in (".crt", ".key")]
        if not folder.is_dir() and beside[0].exists():
            found = [*beside, folder.with_name("ca.crt")]
        else:
            found = [folder / name for name in ("tls.crt", "tls.key", "ca.crt")]
        for path in found:
            if not path.exists():
                raise TlsFilesError(f"{path} is not there: name a folder with tls.crt, tls.key and ca.crt")
        certificate, key, ca = map(str, found)
        return cls(certificate=certificate, key=key, ca=ca, server_name=server_name)

    @classmethod
    def of_environment(cls, server_name: str = "") -> TlsFiles | None:
        """Those that the environment names; None where it names none."""
        folder = os.environ.get(VARIABLE)
        return cls.in_folder(folder, server_name) if folder else None

    def context(self) -> ssl.SSLContext:
        """For other connections than gRPC's. Raises TlsFilesError."""
        from fasttree.client.calls.pem import read, usable

        authorities = read(self.ca).decode("ascii", "replace")
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=authorities)
        if self.certificate:
            with usable(self):
                context.load_cert_chain(self.certificate, self.key)
        # Where servers have another name than their host, who signed them is what counts.
        context.check_hostname = not self.server_name
        return context


class Credentials:
    """What the next channel is opened with. Raises TlsFilesError where the files can't be used now."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._stamps = self._look()
        self._looked_s = time.monotonic()
        #: Another object once the files are others.
        self.now: grpc.ChannelCredentials = _channel_credentials(files)

    def refresh(self) -> grpc.ChannelCredentials:
        """As the files are; as they were before, where they can't be used: between two renewals they don't match."""
        if time.monotonic() - self._looked_s < _LOOK_S:
            return self.now
        self._looked_s = time.monotonic()
        stamps = self._look()
        if stamps != self._stamps:
            try:
                self.now = _channel_credentials(self.files)
                self._stamps = stamps
            except TlsFilesError as error:
                logger.warning("%s; goes on with the certificate of before", error)
        return self.now

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for path in (self.files.certificate, self.files.key, self.files.ca):
            try:
                found = os.stat(path)
                stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)


def _channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    # A client without TLS does not wait for the libraries that read certificates.
    from fasttree.client.calls.pem import channel_credentials

    return channel_credentials(files)
