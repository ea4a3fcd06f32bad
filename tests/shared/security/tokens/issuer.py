"""An issuer of tokens, good ones and others."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from services.shared.security.tokens.settings import TokenSettings

ISSUER, AUDIENCE = "https://login.example.com", "fasttree"
#: Rounded as tests want it: made once, since RSA's take a while.
_MADE: dict[tuple[str, str], Any] = {}
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}


class Issuer:
    """With one key, of that kind."""

    def __init__(self, kind: str = "EC", kid: str = "k1") -> None:
        self.kid = kid
        self.algorithm = _ALGORITHMS[kind]
        parameters: Any = {"kid": kid}
        made = _MADE.get((kind, kid))
        if made is None:
            if kind == "RSA":
                made = RSAKey.generate_key(2048, parameters)
            elif kind == "EC":
                made = ECKey.generate_key("P-256", parameters)
            else:
                made = OKPKey.generate_key("Ed25519", parameters)
        self.key: Any = _MADE.setdefault((kind, kid), made)

    def public(self) -> dict[str, Any]:
        """As a JWKS has it."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig"}

    def token(self, header: dict[str, Any] | None = None, *, kid: bool = True, **claims: Any) -> str:
        """Signed; a claim that is None is lacking. `kid`: whether it names its key."""
        now = int(time.time())
        whole = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "jti": "t1", "iat": now, "exp": now + 600,
            "role": "reporter", **claims,
        }  # fmt: skip
        kept = {name: value for name, value in whole.items() if value is not None}
        registry = JWSRegistry(algorithms=[*JWSRegistry.algorithms], strict_check_header=False)
        named = {"alg": self.algorithm, **({"kid": self.kid} if kid else {}), **(header or {})}
        return jwt.encode(named, kept, self.key, registry=registry)

    def bearer(self, **claims: Any) -> str:
        """As a call has it."""
        return f"Bearer {self.token(**claims)}"


def write_keys(path: Path, *issuers: Issuer) -> Path:
    """A JWKS of their public keys, renamed there."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": [each.public() for each in issuers]}))
    os.replace(new, path)
    return path


def settings(keys: Path | str, **others: Any) -> TokenSettings:
    """That believe the issuer."""
    return TokenSettings(keys=str(keys), issuer=ISSUER, audience=AUDIENCE, **others)
