"""An issuer of a cluster's own: one private key in a file, and a JWKS with the public ones beside it."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from fasttree.client.files import open_regular
from fasttree.command.session import CommandError
from services.shared.files.durable import make_folder, write_durably

#: What tokens say of who has issued them.
ISSUER: Final = "fasttree"
#: Beside the key.
JWKS: Final = "keys.json"
_AUDIENCE: Final = "audience"
_BYTES_MAX: Final = 1 << 20
#: Public keys of before that stay known after a change, until the tokens by them have expired.
_KEPT_MAX: Final = 4


class Issued(NamedTuple):
    """A token, and what is in it that its holder may want to know."""

    token: str
    token_id: str
    expires_s: int


class TokenIssuer:
    """By the key in that file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jwks = path.with_name(JWKS)

    def make(self, audience: str, *, anew: bool = False) -> bool:
        """Makes the key, where there is none or `anew`, and lists its public part first in the JWKS; whether it made
        one. `audience`: for whom its tokens are. Raises CommandError."""
        there = self.path.exists()
        if there and not anew:
            self._write_jwks(self._key(), audience)
            return False
        made = ECKey.generate_key("P-256", auto_kid=True)
        make_folder(self.path.parent)
        # Servers know the key before the first token by it comes.
        self._write_jwks(made, audience)
        write_durably(self.path, made.as_pem(private=True))
        return True

    def issue(self, role: str, member_id: str, subject: str, audience: str, lifetime_s: float) -> Issued:
        """A token; where no audience is named, for whom the key was made. Raises CommandError where there is no key."""
        key, now_s = self._key(), int(time.time())
        audience = audience or self.audience
        claims: dict[str, Any] = {
            "iss": ISSUER, "aud": audience, "sub": subject, "jti": secrets.token_urlsafe(12), "iat": now_s,
            "exp": now_s + round(lifetime_s), "role": role,
        }  # fmt: skip
        if member_id:
            claims["member_id"] = member_id
        token = jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key)
        return Issued(token, claims["jti"], claims["exp"])

    def _key(self) -> ECKey:
        try:
            with open_regular(self.path) as file:
                key = ECKey.import_key(file.read(_BYTES_MAX))
            key.ensure_kid()
            if not key.is_private or key.curve_name != "P-256":
                raise ValueError("another key")
        except FileNotFoundError:
            raise CommandError(f"{self.path} is not there: `fasttree token keys --key {self.path}` makes one") from None
        except OSError as error:
            raise CommandError(f"{self.path} can't be read: {error.strerror or error}") from None
        except (JoseError, ValueError, TypeError):
            raise CommandError(f"{self.path} is no private key for ES256, as `fasttree token keys` makes one") from None
        return key

    @property
    def audience(self) -> str:
        """For whom its tokens are. Raises CommandError."""
        named = self._content().get(_AUDIENCE)
        if not isinstance(named, str) or not named:
            raise CommandError(f"{self.jwks} does not say for whom its tokens are: name it with --audience")
        return named

    def _write_jwks(self, key: ECKey, audience: str) -> None:
        public = {**key.as_dict(private=False), "use": "sig", "alg": "ES256"}
        listed = self._content().get("keys", [])
        others = [each for each in listed if isinstance(each, dict) and each.get("kid") != public["kid"]]
        # What a JWKS has beside its keys is passed over by others (RFC 7517, 5).
        content = {_AUDIENCE: audience, "keys": [public, *others[: _KEPT_MAX - 1]]}
        write_durably(self.jwks, (json.dumps(content, indent=2) + "\n").encode())

    def _content(self) -> dict[str, Any]:
        try:
            with open_regular(self.jwks) as file:
                found = json.loads(file.read(_BYTES_MAX))
            if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
                raise ValueError("another file")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            raise CommandError(f"{self.jwks} is no JWKS: take it away, and it is made anew") from None
        return found
