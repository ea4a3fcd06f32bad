"""Sends what waits in the outgoing folder, the oldest first, and says what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fasttree.client import (
    CallError,
    Client,
    DeadlineExceededError,
    ImportFileError,
    InvalidArgumentError,
    OutOfRangeError,
    UnavailableError,
    UploadOptions,
)
from fasttree.v1 import pusher_pb2, types_pb2
from services.datatrax.jobs.outgoing import Outgoing, Waiting
from services.shared.domain.sentences import plain, system_words
from services.shared.packing import Packing

_PROFILE_INVALID: Final = "PROFILE_INVALID"


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """How files are sent."""

    #: How those are packed that are not yet.
    packing: Packing = Packing.NONE
    #: A kept profile that says the form of all of them; empty: that of imports.
    profile_name: str = ""
    #: Whether to wait until every node serves what was sent, and how long.
    wait_s: float = 0.0
    #: How long the pusher may be away.
    patience_s: float = 60.0


@dataclass
class Transferred:
    """What a run did."""

    #: By file: the import that it became, and its state where that was waited for.
    sent: dict[str, pusher_pb2.ImportStatus] = field(default_factory=dict)
    #: By file: why it was not taken, or why no node serves it.
    refused: dict[str, str] = field(default_factory=dict)
    #: What may still be written.
    unfinished: int = 0
    #: Why files wait that are whole; empty: none does.
    problem: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.refused and not self.problem


async def transfer(
    outgoing: Outgoing,
    client: Client,
    options: TransferOptions,
    progress: Callable[[str, int, int], None] = lambda name, sent, size: None,
) -> Transferred:
    """One run, for whoever has the job's lock. Goes on until nothing waits that is whole.

    Raises OSError where the folder can't be read or written.
    """
    done = Transferred()
    await asyncio.to_thread(outgoing.settle, time.time())
    while not done.problem:
        look = await asyncio.to_thread(outgoing.look, time.time())
        done.unfinished = look.unfinished
        for name, reason in look.unfit:
            await asyncio.to_thread(outgoing.is_refused, name, reason)
            done.refused[name] = reason
        if not look.whole:
            break
        for waiting in look.whole:
            try:
                await _send(outgoing, client, options, done, waiting, progress)
            except CallError as error:
                done.problem = done.problem or f"{waiting.name} waits: {plain(str(error))}"
                if isinstance(error, (UnavailableError, DeadlineExceededError)):
                    break
    if options.wait_s and done.sent:
        await _follow(client, options.wait_s, done)
    return done


async def _send(
    outgoing: Outgoing,
    client: Client,
    options: TransferOptions,
    done: Transferred,
    waiting: Waiting,
    progress: Callable[[str, int, int], None],
) -> None:
    """Raises CallError where the pusher does not take it now."""
    waiting = await asyncio.to_thread(outgoing.packed, waiting, options.packing)
    name = waiting.name
    begun = await asyncio.to_thread(outgoing.begun, name)
    imports = [status.manifest for status in (await client.get_pusher()).imports]
    manifest: types_pb2.ImportManifest | None = None
    if begun is None:
        newest = max((each.import_id for each in imports), default=0)
        await asyncio.to_thread(outgoing.begin, name, newest)
    else:
        manifest = next((each for each in imports if _is_of(each, begun.newest_before, begun.sha256)), None)
    if manifest is None:
        upload = UploadOptions(
            as_of_position=waiting.as_of_position, profile_name=options.profile_name, patience_s=options.patience_s
        )
        try:
            manifest = await client.upload_import(
                outgoing.path(name), upload, lambda sent, size: progress(name, sent, size)
            )
        except (InvalidArgumentError, OutOfRangeError, ImportFileError) as error:
            if isinstance(error, CallError) and error.reason == _PROFILE_INVALID:
                raise  # what this run was told, and no fault of the file
            reason = plain(str(error))
            await asyncio.to_thread(outgoing.is_refused, name, reason)
            done.refused[name] = reason
            return
    done.sent[name] = pusher_pb2.ImportStatus(manifest=manifest, state=pusher_pb2.IMPORT_STATE_WAITING)
    if manifest.remark:
        done.remarks.append(f"{name}: {plain(manifest.remark)}")
    told = {
        "import_id": manifest.import_id,
        "file_name": manifest.file_name,
        "as_of_position": manifest.as_of_position,
        "sha256": (manifest.uploaded_sha256 or manifest.sha256).hex(),
    }
    await asyncio.to_thread(outgoing.is_sent, name, told)


def _is_of(manifest: types_pb2.ImportManifest, newest_before: int, sha256: str) -> bool:
    return manifest.import_id > newest_before and (manifest.uploaded_sha256 or manifest.sha256).hex() == sha256


async def _follow(client: Client, wait_s: float, done: Transferred) -> None:
    """Waits for the end of each import; the newest one supersedes the others."""
    try:
        async with asyncio.timeout(wait_s):
            for name, sent in list(done.sent.items()):
                async for status in client.watch_import(sent.manifest.import_id):
                    done.sent[name] = status
                if done.sent[name].state == pusher_pb2.IMPORT_STATE_REFUSED:
                    done.refused[name] = _why(done.sent[name])
    except TimeoutError:
        done.problem = f"not every node has them after {wait_s:g} s: `fasttree import list` shows how far they are"
    except CallError as error:
        done.problem = f"how they go on is not known: {system_words(error)}"


def _why(status: pusher_pb2.ImportStatus) -> str:
    reasons = [each.progress.reason for each in status.nodes if each.progress.reason]
    return plain(reasons[0]) if reasons else "refused; `fasttree import list` may say more"
