"""Audit logs below a folder, for a page in a browser: records, the newest first, and whether they are whole."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.shared.security.audit.reading import Found, Place, audit_folders, newest_first
from services.shared.security.audit.records import Kind, Line
from services.shared.security.audit.verifying import verify

#: Records that are looked at for one page: who looks for a rare one asks on from where this ended.
_LOOKED_AT_MAX: Final = 20_000
#: Records of a page.
PAGE: Final = 100
_TEXT_MAX: Final = 200
_PLACE: Final = re.compile(r"([0-9T:.Z-]{10,40})\n([^\n]{1,4000})\n([a-z]{1,20})\n([0-9]{1,16})")
_OPERATIONS: Final = (Kind.BEGUN, Kind.ENDED)
_REFUSALS: Final = (Kind.REFUSED, Kind.REFUSED_MORE)
#: What a page may ask for.
OUTCOMES: Final[dict[str, Callable[[Line], bool]]] = {
    "": lambda line: True,
    "operations": lambda line: line.fasttree.kind in _OPERATIONS,
    "failed": lambda line: line.fasttree.kind == Kind.ENDED and line.fasttree.status != "OK",
    "refused": lambda line: line.fasttree.kind in _REFUSALS,
    "services": lambda line: line.fasttree.kind not in _OPERATIONS + _REFUSALS,
}


class Asked(NamedTuple):
    """What somebody looks for."""

    outcome: str
    #: In whose name, address, or the person's behind the console.
    who: str
    method: str
    before: Place | None
    size: int


def asked_of(query: Mapping[str, str]) -> Asked:
    """By the words of an address. Raises ValueError, which says the mend."""
    outcome = query.get("outcome", "")
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome must be {', '.join(filter(None, OUTCOMES))}, or nothing")
    who, method = query.get("who", "")[:_TEXT_MAX], query.get("method", "")[:_TEXT_MAX]
    return Asked(outcome, who, method, _place(query.get("older", "")), PAGE)


def _place(text: str) -> Place | None:
    """As a page hands it back, a line each."""
    if not text:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError("older must be what the page before had as `older`")
    return Place(found[1], found[2], found[3], int(found[4]))


def page_of(folder: Path, asked: Asked) -> dict[str, Any]:
    """Blocks. Raises OSError."""
    folders = audit_folders(folder)
    records: list[dict[str, Any]] = []
    ended: set[str] = set()
    last: Place | None = None
    more = False
    for looked_at, found in enumerate(newest_first(folders, asked.before)):
        if looked_at >= _LOOKED_AT_MAX or len(records) >= asked.size:
            more = True
            break
        last = found.place
        more_of = found.line.fasttree
        if more_of.kind == Kind.ENDED:
            ended.add(more_of.call)
        elif more_of.kind == Kind.BEGUN and more_of.call in ended:
            continue  # its end says the same and more
        if _is_asked_for(found.line, asked):
            records.append(_record_json(found, folder))
    return {
        "folders": [_below(each, folder) for each in folders],
        "records": records,
        "older": list(last) if more and last is not None else None,
    }


def verdicts_of(folder: Path) -> dict[str, Any]:
    """Of every chain: reads all of it. Blocks. Raises OSError."""
    return {
        "at": time.time_ns() // 1_000_000,
        "chains": [
            {
                "folder": _below(each, folder),
                "chain": found.chain,
                "records": found.records,
                "newest_hash": found.newest.hash,
                "problem": found.problem,
            }
            for each in audit_folders(folder)
            for found in verify(each)
        ],
    }


def _is_asked_for(line: Line, asked: Asked) -> bool:
    told, more = line.grpc_audit_log, line.fasttree
    names = (told.principal, more.peer, *map(str, more.details.values()))
    return (
        OUTCOMES[asked.outcome](line)
        and asked.method.lower() in told.rpc_method.lower()
        and any(asked.who.lower() in name.lower() for name in names)
    )


def _record_json(found: Found, folder: Path) -> dict[str, Any]:
    told, more = found.line.grpc_audit_log, found.line.fasttree
    return {
        "key": "/".join(map(str, found.place[1:])),
        "time": told.timestamp,
        "service": more.service,
        "folder": _below(Path(found.place.folder), folder),
        "kind": more.kind,
        "who": told.principal,
        "peer": more.peer,
        "method": told.rpc_method,
        "status": more.status,
        "reason": more.reason,
        "rule": told.matched_rule,
        "details": more.details,
        "record": more.record,
    }


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
