"""What stands in the place of a personal value: the same for the same value of one member, and of nobody else's."""

from __future__ import annotations

import hashlib
import re
from typing import Final

SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 16
#: Who sees one without its value knows what it is.
_PREFIX: Final = "personal:"
_FORM: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{{2 * _DIGEST_BYTES}}}")
#: No value's.
NO_TOKEN: Final = _PREFIX + 2 * _DIGEST_BYTES * "0"


def token_of(salt: bytes, column: str, value: str) -> str:
    """The token of a value. `salt`: the member's own, which goes when the member is erased."""
    made = hashlib.blake2b(f"{column}\0{value}".encode(), digest_size=_DIGEST_BYTES, key=salt)
    return _PREFIX + made.hexdigest()


def is_token(text: str) -> bool:
    """Whether a text is one; what was in a column before it became personal is none."""
    return _FORM.fullmatch(text) is not None
