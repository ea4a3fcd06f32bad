"""The public keys of an issuer, as JWKS: those among them that tokens may be signed by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from services.shared.security.settings import TlsError

#: Of a file or an answer; far more than the keys of an issuer take.
BYTES_MAX: Final = 256 << 10
_KEYS_MAX: Final = 64
_RSA_BITS_MIN: Final = 2_048
#: Of that many bits, as base64.
_RSA_TEXT_MIN: Final = 342
#: Each key is for one algorithm, whatever a token says of itself: none that takes a public key for a secret.
_ALGORITHMS: Final = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
#: Newer issuers call it by its curve (RFC 9864).
_SAME: Final = {"Ed25519": "EdDSA"}
_PRIVATE: Final = ("d", "p", "q", "k")

_Key = RSAKey | ECKey | OKPKey
_IMPORTS: Final[dict[str, type[_Key]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class VerifyingKey(NamedTuple):
    """One of them."""

    kid: str
    algorithm: str
    key: _Key


class Keys:
    """One state of an issuer's keys."""

    def __init__(self, keys: list[VerifyingKey]) -> None:
        self._by_kid = {each.kid: each for each in keys}
        self._only = keys[0] if len(keys) == 1 else None
        self.count = len(keys)

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The one that a token names; where it names none, the only one that there is."""
        return self._only if kid is None else self._by_kid.get(kid)


def read_keys(text: str, place: str) -> Keys:
    """Of a JWKS. What tokens can't be signed by is passed over.

    Raises:
        TlsError: It is none, has a private key, or none that is of use; in one line that names the place.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise TlsError(f"{place}: is no JWKS: it is no JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list) or len(listed) > _KEYS_MAX:
        raise TlsError(f'{place}: is no JWKS: it has to be {{"keys": […]}} with {_KEYS_MAX} at most')
    found: list[VerifyingKey] = []
    for each in listed:
        if isinstance(each, dict) and any(name in each for name in _PRIVATE):
            raise TlsError(f"{place}: there is a private key in it, which nobody but the issuer may have: take it out")
        key = _key(each)
        if key is None:
            continue
        if any(key.kid == other.kid for other in found):
            raise TlsError(f"{place}: two keys have one kid: which one is meant?")
        found.append(key)
    if not found:
        raise TlsError(f"{place}: it has no key for RS256 (2,048 bits or more), ES256 or EdDSA (Ed25519)")
    return Keys(found)


def _key(content: Any) -> VerifyingKey | None:
    if not isinstance(content, Mapping) or content.get("use", "sig") != "sig":
        return None
    kind, curve = content.get("kty"), content.get("crv", "")
    if not isinstance(kind, str) or not isinstance(curve, str) or not isinstance(content.get("kid", ""), str):
        return None
    algorithm = _ALGORITHMS.get((kind, curve))
    named = content.get("alg", algorithm)
    if algorithm is None or not isinstance(named, str) or _SAME.get(named, named) != algorithm:
        return None
    if kind == "RSA" and len(str(content.get("n", ""))) < _RSA_TEXT_MIN:
        return None
    operations = content.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = _IMPORTS[kind].import_key({name: value for name, value in content.items() if isinstance(value, str)})
        public = key.public_key  # the numbers are looked at here
    except (JoseError, ValueError, TypeError):
        return None
    if isinstance(key, RSAKey) and getattr(public, "key_size", 0) < _RSA_BITS_MIN:
        return None
    return VerifyingKey(content.get("kid", ""), algorithm, key)
