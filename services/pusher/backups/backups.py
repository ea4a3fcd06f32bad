"""A backup is a folder with two things in it, and whole when `log.db` stands in it:

| in the folder | what |
|---|---|
| `log.db` | the log as of one moment, in one file: every record was read and found good |
| `ids/` | the ids of records that were trimmed before that moment |
| `imports/` | the import files that the pusher kept then, each with the SHA-256 that its manifest says |

What is sealed there is sealed here too, by the same keys: without them no backup is taken, and none brought back.

It has no `log.end`: a log out of a backup is vouched for by nothing. A pusher that starts with one hears from the nodes
first, and takes nothing while one of them has more.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.inspection import LogVerification, log_path, runs_of, verify_log
from services.shared.domain.sentences import counted
from services.shared.files.checksums import content_sha256
from services.shared.files.chunks import copy_file
from services.shared.files.durable import PART, discard, make_folder, part_of, replace_durably
from services.shared.files.import_files import ImportFileStore
from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.state_folder import lock_folder
from services.shared.serving.process import StartupError

_IMPORTS, _IDS = "imports", "ids"
#: Everything of a log that is moved out of the way, the log itself last.
_OF_A_LOG = ("log.end", "ids", "log.db-shm", "log.db-wal", "log.db")
#: Pages of one step: the writer of the log waits for no reader, but progress is told in between.
_STEP_PAGES = 2_048

#: Told what is being done, and how far: bytes done, bytes in all.
Progress = Callable[[str, int, int], None]


class BackupError(Exception):
    """A backup can't be taken or brought back; one line that names the place and the mend."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        log: The log's id and ends.
        imports: Names of the import files.
        size_bytes: Of all files.
        moved_to: Where a log that lay in the place was moved to; None where there was none.
    """

    log: LogVerification
    imports: tuple[str, ...]
    size_bytes: int
    moved_to: Path | None = None


def back_up(folder: Path, target: Path, progress: Progress) -> Copied:
    """Copies the log of a pusher's folder, as of one moment, and the import files that it keeps. The pusher may run.

    Args:
        target: A folder that is empty, or not there yet.

    Raises:
        BackupError, LogStoreError, OSError: Why not. What was begun is no backup: it has no `log.db`.
    """
    source = log_path(folder)
    make_folder(target)
    if any(target.iterdir()):
        raise BackupError(f"{target} is not empty: a backup takes a folder of its own")
    part = part_of(target / "log.db")
    with _told(source):
        _copy_log(source, part, progress)
        _copy_ids(part, source.parent / _IDS, target / _IDS, progress)
    found = _checked(part)
    names = tuple(_copy_imports(part, folder / _IMPORTS, target / _IMPORTS, progress, must=False))
    replace_durably(part, target / "log.db")
    return Copied(found, names, _size_bytes(target))


def restore(backup: Path, folder: Path, progress: Progress) -> Copied:
    """Puts a backup in the place of a pusher's log. What lies there is moved to a folder beside it, and kept.

    Raises:
        BackupError, LogStoreError, OSError: Why not; nothing has changed then. A pusher that runs is one reason.
    """
    try:
        lock = lock_folder(folder)
    except StartupError as error:
        raise BackupError(f"{error}: a log is brought back while its pusher is down") from error
    with lock:
        source = log_path(backup)
        found = _checked(source)
        needed, free = _size_bytes(source.parent), shutil.disk_usage(folder).free
        if needed > free:
            raise BackupError(f"the backup has {needed} bytes, {folder} has {free} free: make room there")
        part = part_of(folder / "log.db")
        _copy_file(source, part, "copying the log", progress)
        ids = folder / f"{_IDS}{PART}"
        shutil.rmtree(ids, ignore_errors=True)
        _copy_ids(source, source.parent / _IDS, ids, progress)
        names = tuple(_copy_imports(source, source.parent / _IMPORTS, folder / _IMPORTS, progress, must=True))
        moved_to = _move_aside(folder)
        if ids.exists():
            replace_durably(ids, folder / _IDS)
        replace_durably(part, folder / "log.db")
        return Copied(found, names, needed, moved_to)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(f"{path} can't be copied: {error}") from error


def _copy_log(source: Path, part: Path, progress: Progress) -> None:
    """One moment of the log: a reader keeps what it saw first for as long as it reads."""
    discard(part)
    uri = f"{source.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as log:
        page_bytes = int(log.execute("PRAGMA page_size").fetchone()[0])
        log.execute("BEGIN")
        log.execute("SELECT count(*) FROM meta").fetchone()
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous = FULL")

            def tell(_: int, remaining: int, total: int) -> None:
                progress("copying the log", (total - remaining) * page_bytes, total * page_bytes)

            log.backup(copy, pages=_STEP_PAGES, progress=tell)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a WAL that could be left behind


def _copy_ids(log: Path, source: Path, target: Path, progress: Progress) -> None:
    """The files of ids that the log counts: they never change, and stay for a while after they count no more."""
    with closing(sqlite3.connect(f"{log.resolve().as_uri()}?mode=ro", uri=True)) as opened:
        paths = runs_of(opened, source)
    if paths:
        make_folder(target)
    for path in paths:
        part = part_of(target / path.name)
        try:
            _copy_file(path, part, f"copying {path.name}", progress)
        except FileNotFoundError as error:
            raise BackupError(f"{path} is gone: it was merged meanwhile; take the backup again") from error
        replace_durably(part, target / path.name)


def _checked(path: Path) -> LogVerification:
    """What is in a log file, every record of which is good. Raises BackupError where one is not."""
    found = verify_log(path)
    if found.problems:
        more = f", and {counted(len(found.problems) - 1, 'more fault')}" if len(found.problems) > 1 else ""
        raise BackupError(f"{path}: {found.problems[0]}{more}; see docs/operations.md, `A damaged log`")
    return found


def _manifests(path: Path) -> list[types_pb2.ImportManifest]:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as log:
        rows = log.execute("SELECT status FROM imports ORDER BY import_id").fetchall()
    try:
        return [pusher_pb2.ImportStatus.FromString(status).manifest for (status,) in rows]
    except DecodeError as error:
        raise BackupError(f"{path}: an entry of its imports is damaged: {error}") from error


def _copy_imports(log: Path, source: Path, target: Path, progress: Progress, *, must: bool) -> Iterator[str]:
    """The files of the log's imports, as far as they are there; their names. `must`: none may go meanwhile."""
    if not source.is_dir():
        return
    there, kept = ImportFileStore(source), ImportFileStore(target)
    for manifest in _manifests(log):
        path, goal = there.path(manifest), kept.path(manifest)
        if not path.is_file():
            continue  # nothing needs it any more: the pusher removed it
        if goal.is_file() and _sha256(goal) == manifest.sha256:
            yield goal.name
            continue
        part = part_of(goal)
        try:
            _copy_file(path, part, f"copying {goal.name}", progress)
        except FileNotFoundError:
            if must:
                raise
            continue  # removed just now
        if _sha256(part) != manifest.sha256:
            discard(part)
            raise BackupError(f"{path} is damaged: its SHA-256 is not the one of its import")
        replace_durably(part, goal)
        yield goal.name


def _sha256(part: Path) -> bytes:
    """Of what is in a file; empty where it was sealed and is not what was."""
    try:
        return content_sha256(part)
    except SealDamagedError:
        return b""


def _copy_file(source: Path, part: Path, what: str, progress: Progress) -> None:
    size_bytes = source.stat().st_size
    progress(what, 0, size_bytes)
    discard(part)
    copy_file(source, part, size_bytes)
    progress(what, size_bytes, size_bytes)


def _move_aside(folder: Path) -> Path | None:
    """Moves what is of a log in the folder into one beside it."""
    present = [folder / name for name in _OF_A_LOG if (folder / name).exists()]
    if not present:
        return None
    number = 1
    while (aside := folder / f"replaced-{number}").exists():
        number += 1
    make_folder(aside)
    for path in present:
        replace_durably(path, aside / path.name)
    return aside


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
