"""`[tokens]`: whose tokens are believed, and what in them says who somebody is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from services.shared.config.bounds import DAY_S, Flag, OptionalFile, OptionalFileOrUrl, Seconds
from services.shared.config.sections import Problem, Settings
from services.shared.domain.addresses import is_safe_url

_TEXT: Final = r"[^\x00-\x20\x7f]{0,1000}"
_Text = Annotated[str, Meta(pattern=rf"\A{_TEXT}\Z", description="up to 1,000 characters without blanks; or empty")]
_Claim = Annotated[
    str, Meta(pattern=r"\A[^\x00-\x20\x7f]{1,200}\Z", description="a claim's name: 1 to 200 characters without blanks")
]


class TokenSettings(Settings, frozen=True, kw_only=True):
    """Of tokens that callers send as `authorization: Bearer …`. Files are followed, as those of `[tls]`."""

    #: The public keys of whoever issues tokens, as JWKS: a file, or an https:// address, which is asked in the
    #: background. Empty: tokens are refused.
    keys: OptionalFileOrUrl = ""
    #: What the claim iss of a token has to be.
    issuer: _Text = ""
    #: What its claim aud has to be, or to have among others.
    audience: _Text = ""
    #: The claim that says the role, as a text or a list of texts; with dots for one within another.
    role_claim: _Claim = "role"
    #: The claim that says which member a leader is.
    member_claim: _Claim = "member_id"
    #: A file with what is refused before its time: a line each with `jti ID` or `sub SUBJECT`. Empty: none.
    revoked: OptionalFile = ""
    #: By how much clocks may differ, in seconds.
    clock_skew_s: Annotated[float, Meta(ge=0, le=300)] = 60.0
    #: A token that is good for longer than this from now on is refused, in seconds.
    lifetime_s_max: Annotated[float, Meta(ge=60, le=366 * DAY_S)] = float(DAY_S)
    #: Tokens that are remembered as good, so that a call costs no signature.
    remembered_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    #: How often files are looked at, in seconds.
    reload_s: Seconds = 1.0
    #: How often an address is asked for its keys, in seconds; sooner where a token names a key that is not among them,
    #: or where it did not answer.
    keys_refresh_s: Annotated[float, Meta(ge=10, le=DAY_S)] = 300.0
    #: How long it is left alone at least between two times, in seconds.
    keys_pause_s: Annotated[float, Meta(ge=1, le=DAY_S)] = 10.0
    #: How long an answer may take, in seconds.
    keys_timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    #: Authorities whose certificate that address may show, as PEM; empty: those of the system.
    keys_ca: OptionalFile = ""
    #: With `tls.mode = "mutual"`: whether somebody without a certificate may connect, for calls with a token and no
    #: others. For pages and programs of people, whom nobody gives a certificate.
    without_certificate: Flag = False

    @property
    def by_url(self) -> bool:
        """Whether keys come from an address."""
        return "://" in self.keys

    @property
    def keys_path(self) -> Path:
        """Where the keys are, where they are in a file."""
        return Path(self.keys)

    def problems(self) -> Iterator[Problem]:
        """What is not said though it has to be, and keys that anybody on the way could put in place of others."""
        if not self.keys:
            if self.without_certificate:
                yield Problem(
                    "without_certificate", "must be false where there are no keys: nobody could call anything"
                )
            return
        for field in ("issuer", "audience"):
            if not getattr(self, field):
                yield Problem(field, "must say whose tokens these are, and for whom, where keys is set")
        if self.by_url and not is_safe_url(self.keys):
            yield Problem("keys", "must begin with https://, or be http:// at an address of loopback")
