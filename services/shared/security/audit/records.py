"""One line of the audit log: its form, and how it holds on to the line before."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from services.shared.domain.sentences import plain
from services.shared.forms import Form

#: What the very first line holds on to.
NOTHING_BEFORE: Final = "0" * 64
#: Of a line; a record's own texts are cut long before.
LINE_BYTES_MAX: Final = 16 << 10
_TEXT_MAX: Final = 300
_DETAILS_MAX: Final = 20


class Kind:
    """What a record is about."""

    #: An operation is about to be done, and is over.
    BEGUN: Final = "begun"
    ENDED: Final = "ended"
    #: A call, a page or a connection was refused; so many more were.
    REFUSED: Final = "refused"
    REFUSED_MORE: Final = "refused-more"
    #: The process has another policy, or list of revoked certificates, or can't read it.
    POLICY: Final = "policy"
    #: The process opened the files, or began another file.
    OPENED: Final = "opened"
    FILE: Final = "file"


class GrpcAuditLog(msgspec.Struct, frozen=True, kw_only=True):
    """As gRFC A59 has it."""

    #: RFC 3339, in UTC.
    timestamp: str
    rpc_method: str
    principal: str
    policy_name: str
    matched_rule: str
    authorized: bool


class Chained(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands beside that form."""

    #: Its number, from 1, without a gap.
    record: int
    #: SHA-256 of the line before, without its end.
    previous: str
    kind: str
    service: str
    #: What a record that has ended has in common with the one that had begun.
    call: str = ""
    #: Where it came from, as gRPC names peers.
    peer: str = ""
    #: A gRPC status, such as OK or PERMISSION_DENIED.
    status: str = ""
    reason: str = ""
    details: dict[str, str | int | float | bool] = {}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    grpc_audit_log: GrpcAuditLog
    fasttree: Chained


FORM: Final[Form[Line]] = Form(Line)


class Entry(NamedTuple):
    """A record before it has its place in the chain."""

    kind: str
    time_s: float
    path: str = ""
    principal: str = ""
    policy: str = ""
    rule: str = ""
    authorized: bool = True
    call: str = ""
    peer: str = ""
    status: str = ""
    reason: str = ""
    details: Mapping[str, Any] = MappingProxyType({})


def line_of(entry: Entry, service: str, record: int, previous: str) -> bytes:
    """With its end. Whatever is in a text of somebody else's: one line of bounded length, nothing unseen in it."""
    time = datetime.datetime.fromtimestamp(entry.time_s, datetime.UTC)
    line = Line(
        grpc_audit_log=GrpcAuditLog(
            timestamp=time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            rpc_method=_shown(entry.path),
            principal=_shown(entry.principal),
            policy_name=_shown(entry.policy),
            matched_rule=_shown(entry.rule),
            authorized=entry.authorized,
        ),
        fasttree=Chained(
            record=record,
            previous=previous,
            kind=entry.kind,
            service=service,
            call=entry.call,
            peer=_shown(entry.peer),
            status=entry.status,
            reason=_shown(entry.reason),
            details={
                name: value if isinstance(value, int | float) else _shown(str(value))
                for name, value in list(entry.details.items())[:_DETAILS_MAX]
            },
        ),
    )
    return msgspec.json.encode(line) + b"\n"


def hash_of(line: bytes) -> str:
    """What the next line holds on to. `line`: without its end."""
    return hashlib.sha256(line).hexdigest()


def _shown(text: str) -> str:
    return plain(text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "…")
