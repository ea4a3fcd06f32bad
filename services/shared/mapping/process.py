"""Writes one file anew in the form of imports, in a process of its own: no event loop waits for its rows.

    python -m services.shared.mapping.process

The request is one line of JSON on standard input, the answer one on standard output.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
from pathlib import Path

import msgspec

from services.shared.domain.columns import FurtherKind
from services.shared.domain.sentences import counted
from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.memory import readable, writable
from services.shared.files.sealed.names import IMPORT_FILE
from services.shared.files.sealed.own import HandedKeys, seal_by
from services.shared.forms import Form
from services.shared.mapping.canonical import KnownColumns, MappingError, Rewritten, rewrite
from services.shared.mapping.faults import FaultKind
from services.shared.mapping.profile import Profile
from services.shared.personal.vault import VaultError

_PR_SET_PDEATHSIG = 1
_NICE = 5
_KINDS_SHOWN = 5


class RewriteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which file, where to, and what tells days and numbers from texts."""

    source: str
    target: str
    profile: Profile
    volume_types: list[str]
    #: Types of the columns that the log declares, by name.
    columns: dict[str, FurtherKind]
    #: Those that are personal, and the file that their values go to.
    personal: list[str] = []
    vault: str = ""
    vault_wait_s: float = 10.0
    #: Whether both are sealed, and by which keys.
    sealing: HandedKeys = HandedKeys()


class Done(msgspec.Struct, frozen=True, tag=True):
    """The file is written."""

    rows: int


class NotOfProfile(msgspec.Struct, frozen=True, tag=True):
    """The file is none of that form, in one line."""

    reason: str


class NotOpened(msgspec.Struct, frozen=True, tag=True):
    """The file, or the new one, can't be opened by the keys that there are, in one line."""

    reason: str


class DiskFailed(msgspec.Struct, frozen=True, tag=True):
    """What the system said."""

    number: int
    reason: str


_REQUEST: Form[RewriteRequest] = Form(RewriteRequest)
Answer = Done | NotOfProfile | NotOpened | DiskFailed


def answer(request: RewriteRequest) -> Answer:
    """What comes of a request."""
    known = KnownColumns(request.volume_types, request.columns, request.personal, request.vault, request.vault_wait_s)
    try:
        seal_by(request.sealing)
        with (
            readable(Path(request.source), IMPORT_FILE) as source,
            writable(Path(request.target), IMPORT_FILE) as target,
        ):
            found = rewrite(source, target, request.profile, known)
    except MappingError as error:
        return NotOfProfile(str(error))
    except (SealKeyError, SealDamagedError) as error:
        return NotOpened(str(error))
    except VaultError as error:
        return DiskFailed(errno.EIO, str(error))
    except OSError as error:
        return DiskFailed(error.errno or 0, error.strerror or str(error))
    return NotOfProfile(_faults(found)) if found.faults else Done(found.rows)


def _faults(found: Rewritten) -> str:
    kinds = found.tally.kinds()
    told = "; ".join(f"{kind.count:,} x {_where(kind)}: {kind.reason}" for kind in kinds[:_KINDS_SHOWN])
    more = f"; and {counted(len(kinds) - _KINDS_SHOWN, 'more kind')}" if len(kinds) > _KINDS_SHOWN else ""
    return f"{counted(found.fault_count, 'row is', 'rows are')} not as the profile says: {told}{more}"


def _where(kind: FaultKind) -> str:
    lines = f"line {kind.lines[0]}" + (" and others" if kind.count > 1 else "")
    return f"column {kind.column} ({lines})" if kind.column else lines


def main() -> None:
    """The process; see above."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    with contextlib.suppress(BrokenPipeError):
        line = sys.stdin.buffer.readline()
        if line:
            sys.stdout.buffer.write(msgspec.json.encode(answer(_REQUEST.of_json(line))) + b"\n")
            sys.stdout.buffer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
