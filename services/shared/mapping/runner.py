"""Has a file written anew by a process of its own (`process.py`)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from services.shared.files.sealed.own import keys_to_hand
from services.shared.forms import Form
from services.shared.mapping.canonical import KnownColumns
from services.shared.mapping.process import Answer, DiskFailed, NotOfProfile, NotOpened, RewriteRequest
from services.shared.mapping.profile import Profile
from services.shared.python_process import python_command

_ANSWER: Form[Answer] = Form(Answer)


class NotOfProfileError(Exception):
    """The file is none of the profile's form: one line, with its faults by kind."""


class RewritingEndedError(Exception):
    """The process was ended, by whoever wanted its memory say, or could not open a sealed file: another try may do
    better."""


async def rewrite_file(source: Path, target: Path, profile: Profile, known: KnownColumns) -> None:
    """Writes the file in the form of imports; nothing is durable yet.

    Raises:
        NotOfProfileError: It is none of that form.
        RewritingEndedError: It was ended before it was done, or can't open the file.
        OSError: The disk.
    """
    request = RewriteRequest(
        source=str(source),
        target=str(target),
        profile=profile,
        volume_types=list(known.volume_types),
        columns=dict(known.declared),
        personal=list(known.personal),
        vault=known.vault,
        vault_wait_s=known.vault_wait_s,
        sealing=keys_to_hand(),
    )
    process = await asyncio.create_subprocess_exec(
        *python_command("services.shared.mapping.process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await process.communicate(msgspec.json.encode(request) + b"\n")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not out:
        raise RewritingEndedError(f"the process that reads it with its profile ended with code {process.returncode}")
    answer = _ANSWER.of_json(out)
    if isinstance(answer, NotOfProfile):
        raise NotOfProfileError(answer.reason)
    if isinstance(answer, NotOpened):
        raise RewritingEndedError(answer.reason)
    if isinstance(answer, DiskFailed):
        raise OSError(answer.number, answer.reason)
