"""Passwords in addresses: settings are shown and logged, so none may stand there; a file beside them holds it."""

from __future__ import annotations

import re

_HIDDEN = "***"
#: A user, and what stands for a password, before a host: of one address, or of several with commas between.
_AUTHORITY = re.compile(r"(?<=://)[^/?#\s]+")
#: Of several addresses, the ones before the last user.
_HOST = re.compile(r"(?:[^\s:@\[\]]+@)?(?:[^\s:@\[\]]+|\[[^\s@\]]*\])(?::\d+)?")
_OF_QUERY = re.compile(r"(?i)(?<=[?&])([a-z_]*(?:password|passwd|secret|token))=[^&#\s]*[^&#\s\"']")


def without_passwords(text: str) -> str:
    """The text, with each password of an address in it blanked."""
    return _OF_QUERY.sub(rf"\1={_HIDDEN}", _AUTHORITY.sub(lambda found: _of_authority(found[0]), text))


def _of_authority(authority: str) -> str:
    users, at, hosts = authority.rpartition("@")
    *others, user = users.split(",")
    if not at or (":" not in user and all(map(_HOST.fullmatch, others))):
        return authority
    return f"{users.partition(':')[0]}:{_HIDDEN}@{hosts}"
