"""Who may call what, in the form of gRFC A43: rules that deny, then rules that allow; what none allows is refused.

{"name": "…",
 "deny_rules":  [{"name": "…", "source": {"principals": […]}, "request": {"paths": […]}}],
 "allow_rules": […]}

A principal or a path is matched as it stands, by its beginning ("a*"), by its end ("*a"), or by being there ("*").
A rule without principals is for everybody who has a certificate, one without paths for every call. The gRFC's
`headers` are not there, and refused: no rule may mean less than it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from services.shared.config.text_file import read_text_file
from services.shared.forms import Form
from services.shared.security.settings import TlsError

_BYTES_MAX = 1 << 20
#: Verdicts that are remembered; then they are found anew.
_REMEMBERED_MAX = 10_000

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
_Texts = Annotated[list[_Text], msgspec.Meta(max_length=1_000)]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who calls; empty: anybody with a certificate."""

    principals: _Texts = msgspec.field(default_factory=list)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is called; empty: anything."""

    paths: _Texts = msgspec.field(default_factory=list)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of the policy's."""

    name: _Text
    source: Source = msgspec.field(default_factory=Source)
    request: Request = msgspec.field(default_factory=Request)

    def matches(self, principals: Sequence[str], path: str) -> bool:
        """Whether it is for that call."""
        who, what = self.source.principals, self.request.paths
        if who and not any(_matches(pattern, name) for pattern in who for name in principals):
            return False
        return not what or any(_matches(pattern, path) for pattern in what)


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A policy as its file has it."""

    name: _Text
    allow_rules: Annotated[list[Rule], msgspec.Meta(min_length=1, max_length=1_000)]
    deny_rules: Annotated[list[Rule], msgspec.Meta(max_length=1_000)] = msgspec.field(default_factory=list)


_FORM: Form[Content] = Form(Content)


class Verdict(NamedTuple):
    """Of one call."""

    allowed: bool
    #: The rule that says so; empty: none does, so it is refused.
    rule: str


class Policy:
    """A policy in force."""

    def __init__(self, content: Content) -> None:
        self.content = content
        #: Of what is in force, however its file was written: SHA-256.
        self.digest = hashlib.sha256(msgspec.json.encode(content)).hexdigest()
        self._known: dict[tuple[tuple[str, ...], str], Verdict] = {}

    def verdict(self, principals: tuple[str, ...], path: str) -> Verdict:
        """Whether somebody with these names may call that."""
        found = self._known.get((principals, path))
        if found is None:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            found = self._known[principals, path] = self._judge(principals, path)
        return found

    def _judge(self, principals: tuple[str, ...], path: str) -> Verdict:
        for rules, allowed in ((self.content.deny_rules, False), (self.content.allow_rules, True)):
            for rule in rules:
                if rule.matches(principals, path):
                    return Verdict(allowed, rule.name)
        return Verdict(False, "")


def read_policy(path: Path) -> Policy:
    """Of a file. Blocks. Raises TlsError, which names the place and the mend."""
    try:
        return Policy(_FORM.of_json(read_text_file(path, _BYTES_MAX)))
    except OSError as error:
        raise TlsError(f"{path}: can't read the policy: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise TlsError(f"{path}: is no policy: {error}: `fasttree policy show` has one to begin with") from None


def _matches(pattern: str, text: str) -> bool:
    if pattern == "*":
        return bool(text)
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    return text == pattern
