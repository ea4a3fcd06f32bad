"""What each job does, and what is to be said of it: one line for people, all of it for programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fasttree.client import Client
from fasttree.client.counts import counted
from fasttree.client.status.imports import import_json
from fasttree.command.datatrax.check import check_json, checked
from fasttree.command.datatrax.job_places import JobPlace
from fasttree.command.output import Progress
from fasttree.command.session import CommandError, Session
from fasttree.v1 import pusher_pb2
from services.datatrax.cleaning import Kept, Old, clean, old_files
from services.datatrax.jobs.export_transfer import TransferOptions, Transferred, transfer
from services.datatrax.jobs.outgoing import Outgoing, OutgoingError
from services.shared.packing import Packing

_SHOWN = 3


@dataclass
class Outcome:
    """How a run ended."""

    #: One line.
    text: str
    is_good: bool = True
    #: For programs.
    more: dict[str, Any] = field(default_factory=dict)


async def send(client: Client, place: JobPlace, options: TransferOptions, *, quiet: bool) -> Outcome:
    """export-transfer. Raises CommandError where the folder can't be used."""
    progress = Progress(quiet=quiet)

    def tell(name: str, sent_bytes: int, size_bytes: int) -> None:
        progress.percent(f"sending {name}", sent_bytes, size_bytes)

    try:
        done = await transfer(Outgoing(place.folder), client, options, tell)
    except OSError as error:
        raise CommandError(f"{place.folder}: {error}") from None
    progress.clear()
    return Outcome(_said(done), done.is_good, _sent_json(done))


def put(place: JobPlace, files: Sequence[Path], packing: Packing, position: int | None) -> list[str]:
    """Copies files to the folder of what is to be sent; their names there.

    Raises:
        CommandError: One can't be put there; those before it are.
    """
    try:
        outgoing = Outgoing(place.folder)
        return [outgoing.put(file, packing, position) for file in files]
    except OutgoingError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or place.folder}: {error.strerror or error}") from None


def _said(done: Transferred) -> str:
    parts = [f"{counted(len(done.sent), 'file')} sent"]
    if done.sent:
        parts[0] += f" ({', '.join(_import_text(status) for status in done.sent.values())})"
    if done.refused:
        shown = [f"{name}: {reason}" for name, reason in list(done.refused.items())[:_SHOWN]]
        more = f"; and {len(done.refused) - _SHOWN} more" if len(done.refused) > _SHOWN else ""
        parts.append(f"{len(done.refused)} refused, {'; '.join(shown)}{more}")
    if done.unfinished:
        parts.append(f"{done.unfinished} not whole yet")
    if done.problem:
        parts.append(done.problem)
    return "; ".join([*parts, *done.remarks])


def _import_text(status: pusher_pb2.ImportStatus) -> str:
    words = {pusher_pb2.IMPORT_STATE_DONE: " served", pusher_pb2.IMPORT_STATE_SUPERSEDED: " superseded"}
    return f"import {status.manifest.import_id}{words.get(status.state, '')}"


def _sent_json(done: Transferred) -> dict[str, Any]:
    return {
        "sent": {name: import_json(status) for name, status in done.sent.items()},
        "refused": done.refused,
        "not_whole_yet": done.unfinished,
        "problem": done.problem,
        "remarks": done.remarks,
    }


def prune(place: JobPlace, kept: Kept, *, dry_run: bool) -> Outcome:
    """Raises CommandError where the folder can't be read or written."""
    try:
        old = list(old_files(place.folder, place.layouts, kept, time.time()))
        freed = sum(each.size_bytes for each in old) if dry_run else clean(old)
    except OSError as error:
        raise CommandError(f"{place.folder}: {error}") from None
    would = "would be removed" if dry_run else "removed"
    text = f"{counted(len(old), 'file')} {would}, {freed:,} bytes"
    return Outcome(text, more={"files": [_old_json(each, place) for each in old], "bytes": freed, "dry_run": dry_run})


def _old_json(old: Old, place: JobPlace) -> dict[str, Any]:
    name = str(old.path.relative_to(place.folder))
    return {"file": name, "bytes": old.size_bytes, "name_stays": old.name_stays}


async def look_at_all(
    session: Session, environment: str, *, folder: Path, port: int | None, file: Path | None
) -> Outcome:
    """check: each line of `fasttree datatrax check`. Raises CommandError."""
    found = await checked(session, folder, file, environment, None, port)
    wrong = [each for each in found if not each.good]
    shown = [f"{each.what}: {each.said}" for each in wrong[:_SHOWN]]
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    text = f"{'; '.join(shown)}{more}" if wrong else f"{counted(len(found), 'line is', 'lines are')} good"
    return Outcome(text, not wrong, {"checks": [check_json(each) for each in found]})


async def same_everywhere(client: Client) -> Outcome:
    """verify: what the nodes hold at one position, and the rows that each took of the newest import."""
    from fasttree.command.cluster.verify import compare

    digests, _, closed = await compare(client, None, 0)
    problems = [f"{each.node}: {each.problem}" for each in digests if each.problem]
    states = {each.state for each in digests if not each.problem}
    if len(states) > 1:
        problems.append("the nodes do not hold the same; `fasttree verify` names the members")
    if closed:
        problems.append(f"no pushes are taken: {closed}")
    imports = (await client.get_pusher()).imports
    newest = max(imports, key=lambda status: status.manifest.import_id, default=None)
    served = max((each.import_id for each in digests), default=0)
    rows: dict[str, int] = {}
    if newest is not None:
        rows = {node.node: node.progress.rows for node in newest.nodes if node.progress.rows}
        if len(set(rows.values())) > 1:
            told = ", ".join(f"{node} {count:,}" for node, count in rows.items())
            problems.append(f"of import {newest.manifest.import_id} the nodes took other numbers of rows: {told}")
        if newest.state == pusher_pb2.IMPORT_STATE_REFUSED:
            problems.append(f"import {newest.manifest.import_id} ({newest.manifest.file_name}) was refused")
    at = next(iter(states))[1] if len(states) == 1 else 0
    of_rows = f", {counted(next(iter(rows.values())), 'row')} of it on each" if len(set(rows.values())) == 1 else ""
    good = f"{counted(len(digests), 'node holds', 'nodes hold')} the same at import {served}{of_rows}, position {at}"
    more = {
        "nodes": [each.as_json() for each in digests],
        "import": import_json(newest) if newest is not None else None,
        "problems": problems,
    }
    return Outcome("; ".join(problems) or good, not problems, more)
