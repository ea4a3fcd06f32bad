"""Until when peers' certificates are good: TLS asks that when a connection comes, and never again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

#: Certificates of which it is remembered.
_REMEMBERED_MAX: Final = 10_000


class Expiries:
    """`clock` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._until_s: dict[bytes, float] = {}

    def is_over(self, peer: Mapping[str, Sequence[bytes]]) -> bool:
        """Whether the certificate that a connection shows is good no more. `peer`: what TLS knows, by gRPC's names."""
        shown = peer.get("x509_pem_cert")
        if not shown:
            return False
        until_s = self._until_s.get(shown[0])
        if until_s is None:
            # What reads certificates takes a while to import, which a process without them need not wait for.
            from cryptography import x509

            if len(self._until_s) >= _REMEMBERED_MAX:
                self._until_s.clear()
            until_s = x509.load_pem_x509_certificate(shown[0]).not_valid_after_utc.timestamp()
            self._until_s[shown[0]] = until_s
        return self._clock() > until_s
