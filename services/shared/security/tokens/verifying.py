"""Tokens verified, and those that were good remembered: a call with one of these costs a look into a dictionary."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, extract_compact

from services.shared.security.tokens.bearer import REVOKED, Bearer, TokenError
from services.shared.security.tokens.claims import bearer_of
from services.shared.security.tokens.keys import Keys, VerifyingKey
from services.shared.security.tokens.revocation import Revoked
from services.shared.security.tokens.settings import TokenSettings

logger = logging.getLogger(__name__)

#: Of a token: more than any that a header block has room for.
TOKEN_BYTES_MAX: Final = 8 << 10
_SCHEME: Final = "bearer"
#: Each cause is told once in so long, in seconds.
_TOLD_S: Final = 60.0
_TYPES: Final = ("jwt", "at+jwt", "application/at+jwt")
_EDDSA: Final = ("EdDSA", "Ed25519")


class _Registry(JWSRegistry):
    max_header_length = 2_048
    max_payload_length = TOKEN_BYTES_MAX

    def get_alg(self, name: str) -> Any:
        # Its old name says no curve, of which joserfc warns; here it is of that one.
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


_READING: Final = _Registry(strict_check_header=False)


class Verifier:
    """Of one issuer. Used on one thread; `clock` gives seconds since 1970.

    Args:
        want_keys: Called where a token names a key that is not known.
    """

    def __init__(
        self,
        settings: TokenSettings,
        clock: Callable[[], float] = time.time,
        want_keys: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._want_keys = want_keys
        self._keys = Keys([])
        self._revoked = Revoked()
        self._known: dict[str, Bearer] = {}
        self._told: dict[str, float] = {}

    def use(self, *, keys: Keys | None = None, revoked: Revoked | None = None) -> None:
        """From now on these count; what was good by others is looked at anew."""
        self._keys = self._keys if keys is None else keys
        self._revoked = self._revoked if revoked is None else revoked
        self._known = {}

    @property
    def has_keys(self) -> bool:
        """Without any, every token is refused."""
        return self._keys.count > 0

    def bearer(self, authorization: str) -> Bearer:
        """Who sends that.

        Raises:
            TokenError: It is no token, or none that counts here and now.
        """
        found = self._known.get(authorization)
        if found is not None and self._clock() < found.until_s:
            return found
        try:
            return self._verified(authorization)
        except TokenError as error:
            self._tell(error.cause)
            raise

    def _verified(self, authorization: str) -> Bearer:
        if len(authorization) > TOKEN_BYTES_MAX:
            raise TokenError("it is too long")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != _SCHEME or not token.isascii():
            raise TokenError("it does not begin with Bearer")
        found = bearer_of(self._claims(token.strip().encode()), self._settings, self._clock())
        if found.token_id in self._revoked.token_ids or found.subject in self._revoked.subjects:
            raise TokenError("it is revoked", REVOKED)
        if len(self._known) >= self._settings.remembered_max:
            self._known = {}
        self._known[authorization] = found
        return found

    def _claims(self, token: bytes) -> dict[str, Any]:
        try:
            header = extract_compact(token, registry=_READING).headers()
            key = self._key_of(header)
            registry = _Registry(algorithms=_names(key.algorithm), strict_check_header=False)
            return jwt.decode(token, key.key, registry=registry).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            # Of the library's own words some quote what somebody sent.
            raise TokenError("it is no token, or its signature is not by the key that it names") from None

    def _key_of(self, header: dict[str, Any]) -> VerifyingKey:
        kid, kind = header.get("kid"), header.get("typ", "JWT")
        if "crit" in header or "jku" in header or "jwk" in header or "x5u" in header:
            raise TokenError("it wants to be read in a way of its own (crit, jku, jwk or x5u)")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise TokenError("it is of another type (typ) than JWT or at+jwt")
        if kid is not None and not isinstance(kid, str):
            raise TokenError("its kid is no text")
        key = self._keys.find(kid)
        if key is None:
            self._want_keys()
            raise TokenError(
                "it names a key that the issuer's keys have not" if self._keys.count else "no keys are known"
            )
        if header.get("alg") not in _names(key.algorithm):
            raise TokenError(f"it is signed by another algorithm than its key's, which is {key.algorithm}")
        return key

    def _tell(self, cause: str) -> None:
        now_s = time.monotonic()
        if now_s - self._told.get(cause, -_TOLD_S) >= _TOLD_S:
            self._told[cause] = now_s
            logger.warning("tokens: one is refused: %s", cause)


def _names(algorithm: str) -> tuple[str, ...]:
    return _EDDSA if algorithm == "EdDSA" else (algorithm,)
