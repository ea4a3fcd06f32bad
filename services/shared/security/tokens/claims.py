"""What is in a token whose signature is good: checked, and made into names that the policy knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwt import JWTClaimsRegistry

from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX
from services.shared.domain.members import is_name
from services.shared.domain.sentences import is_plain
from services.shared.security.roles import LEADER, MACHINES, TOKEN
from services.shared.security.tokens.bearer import EXPIRED, Bearer, TokenError
from services.shared.security.tokens.settings import TokenSettings

_ROLE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_ROLES_MAX: Final = 64
_SUBJECT_LENGTH_MAX: Final = 256
_ID_LENGTH_MAX: Final = 256
#: Later than any clock says.
_SECONDS_MAX: Final = 1 << 40


def bearer_of(claims: Mapping[str, Any], settings: TokenSettings, now_s: float) -> Bearer:
    """Whom the claims name.

    Raises:
        TokenError: They name nobody, or not now, or not for us.
    """
    registry = JWTClaimsRegistry(
        now=int(now_s),
        leeway=int(settings.clock_skew_s),
        iss={"essential": True, "value": settings.issuer},
        aud={"essential": True, "value": settings.audience},
        exp={"essential": True},
        sub={"essential": True},
    )
    try:
        registry.validate(dict(claims))
    except ExpiredTokenError:
        raise TokenError("it has expired", EXPIRED) from None
    except JoseError as error:
        claim = getattr(error, "claim", None)
        raise TokenError(f"the claim {claim} is lacking or is not ours" if claim else "a claim is lacking") from None
    until_s = float(min(claims["exp"], _SECONDS_MAX)) + settings.clock_skew_s
    if until_s > now_s + settings.lifetime_s_max + 2 * settings.clock_skew_s:
        raise TokenError("it is good for longer than tokens.lifetime_s_max")
    subject, token_id = str(claims["sub"]), str(claims.get("jti", ""))
    if not is_plain(subject) or len(subject) > _SUBJECT_LENGTH_MAX or len(token_id) > _ID_LENGTH_MAX:
        raise TokenError("its sub or jti is no text of up to 256 characters that can be shown")
    roles = _roles(_claim(claims, settings.role_claim))
    leads = _member(_claim(claims, settings.member_claim)) if LEADER in roles else None
    return Bearer(tuple(f"{TOKEN}{role}/{subject}" for role in roles), leads, until_s, subject, token_id)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """By its name, which may have dots in it, or by the way to it. None where it is not there."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _roles(claim: Any) -> tuple[str, ...]:
    """Those that can be one of ours; an issuer has others too, which mean nothing here."""
    named = [claim] if isinstance(claim, str) else claim
    if not isinstance(named, list) or len(named) > _ROLES_MAX:
        raise TokenError("its role is neither a text nor a list of up to 64 of them")
    roles = tuple(dict.fromkeys(each for each in named if isinstance(each, str) and _ROLE.fullmatch(each)))
    if machines := [each for each in roles if each in MACHINES]:
        raise TokenError(f"it claims to be a {machines[0]}, which is a process with a certificate, never a token")
    if not roles:
        raise TokenError("it names no role")
    return roles


def _member(claim: Any) -> str:
    member_id = str(claim) if isinstance(claim, int) and not isinstance(claim, bool) else claim
    if not isinstance(member_id, str) or not is_name(member_id, MEMBER_ID_LENGTH_MAX):
        raise TokenError("it is a leader's, and says not which member he is (tokens.member_claim)")
    return member_id
