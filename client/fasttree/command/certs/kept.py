"""issued/ROLE/NAME/SERIAL.pem: what an authority has signed, each certificate until it expires.

A list of what counts no more names numbers, and one holder has several that are good at once: one that was renewed, or
issued again, is good until its end, wherever a copy of it is. So each is kept, before anybody has it. Who it is and its
number are its path, so that a damaged one is found as well. There is no key in any.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509

from fasttree.client.calls.pem import UNREADABLE
from fasttree.client.files import open_regular
from fasttree.command.certs.roles import Holder
from services.shared.files.durable import discard, make_folder, write_durably

_FOLDER: Final = "issued"
_SUFFIX: Final = ".pem"
#: Far above any certificate.
BYTES_MAX: Final = 1 << 20
#: Clocks differ: one whose end is nearer than this may be good elsewhere.
_EXPIRED_FOR: Final = datetime.timedelta(days=1)


class KeptCertificates:
    """Those of one authority's folder."""

    def __init__(self, path: Path) -> None:
        self._path = path / _FOLDER

    def keep(self, holder: Holder, pem: bytes) -> None:
        """A certificate of the holder's, before it is used; those of his that have expired go."""
        certificate = x509.load_pem_x509_certificate(pem)
        folder = self._path / holder.role / holder.name
        for made in (self._path, folder.parent, folder):
            make_folder(made)
        ended = datetime.datetime.now(datetime.UTC) - _EXPIRED_FOR
        for path, each in self._of(folder):
            if each is not None and each.not_valid_after_utc < ended:
                discard(path)
        write_durably(folder / f"{certificate.serial_number:X}{_SUFFIX}", pem)

    def serials(self, holder: Holder, root: x509.Certificate) -> list[int]:
        """The numbers of the holder's that `root` has signed; of one that can't be read any more, too."""
        return [
            int(path.stem, 16)
            for path, each in self._of(self._path / holder.role / holder.name)
            if each is None or signed_by(each, root)
        ]

    def has(self, serial: int) -> bool:
        """Whether anybody's has that number."""
        return any(True for _ in self._path.glob(f"*/*/{serial:X}{_SUFFIX}"))

    @staticmethod
    def _of(folder: Path) -> Iterator[tuple[Path, x509.Certificate | None]]:
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(ValueError):
                int(path.stem, 16)
                yield path, _read(path)


def signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    """Whether that authority has signed it."""
    try:
        certificate.verify_directly_issued_by(root)
    except Exception:  # another's: cryptography has several words for that
        return False
    return True


def _read(path: Path) -> x509.Certificate | None:
    try:
        with open_regular(path) as file:
            return x509.load_pem_x509_certificate(file.read(BYTES_MAX))
    except (OSError, *UNREADABLE):
        return None
