"""From SQLite to PostgreSQL or NATS JetStream, without losing an update.

1. While the pusher goes on, everything is copied that is there, piece by piece; each is read back and compared. That
   can be done as often as wanted, and goes on where it was, whatever ended it.
2. The last step begins by a claim on the old log that no pusher can ever follow: from then on nothing is written to it,
   and what its pusher has not stored has no receipt. Then the rest is copied.
   Before that, all of the copy is compared once more.
3. In one step (a transaction, a group of messages) the copy becomes the log: it has the old one's id, its rules,
   imports and ages, and the epoch that was in force. Until then no pusher can claim it; afterwards none can claim the
   old one. What dies in between goes on when it is begun again.
4. The claim names the copy that the log goes on by: another one, in a place of the same name, never becomes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from services.pusher.log.fencing.fence import MOVED
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogDamagedError, LogEnds, LogStoreError
from services.pusher.moving.source import Piece, SqliteSource
from services.pusher.moving.target import CopyTarget, Small
from services.pusher.personal.place import NO_VAULT
from services.shared.domain.sentences import quoted

#: Told what is being done, and how far: done, in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What is in the copy. `moved`: it is the log from now on. `begun`: not yet, but the old one takes nothing more."""

    log_id: str
    ends: LogEnds
    old_ids: int
    moved: bool
    begun: bool = False


def copy_log(
    folder: Path, settings: LogSettings, cluster: str, *, finish: bool, progress: Progress, instead_of: str = ""
) -> Copied:
    """Copies the log of a pusher's folder to where the settings name; `finish`: and moves it there. `instead_of`: a
    copy to which it was moved, and which was lost before it was complete.

    Raises:
        LogStoreError: Why not. What was copied stays, for the next time.
    """
    source = SqliteSource(folder)
    try:
        source.check_cluster(cluster)
        _check_place(source)
        with TemporaryDirectory() as mark:
            target = _target(Path(mark), settings, cluster)
            try:
                target.look(source.log_id)
                if target.is_the_log and source.fence().holder.startswith(MOVED):
                    return Copied(source.log_id, source.ends(), source.old_ids(), moved=True)
                if target.is_the_log:
                    raise LogStoreError(f"{target.place} holds this log already, and its pusher here can write it, too")
                source.moves_to(target.place, target.copy_id, instead_of)  # before anything is copied in vain
                target.begin(source.log_id)
                old_ids = _copy(source, target, progress)
                if finish:
                    _check(source, target, progress)
                    old_ids = _finish(source, target, progress, instead_of)
                ends = LogEnds(source.ends().first, target.last_position)
                begun = not finish and source.fence().holder.startswith(MOVED)
                return Copied(source.log_id, ends, old_ids, finish, begun)
            finally:
                target.close()
    finally:
        source.close()


def _check_place(source: SqliteSource) -> None:
    """Raises LogStoreError where the log has what it can't have elsewhere."""
    personal = source.personal_columns()
    if personal:
        raise LogStoreError(f"columns are personal ({', '.join(map(quoted, personal))}): {NO_VAULT}")


def _target(folder: Path, settings: LogSettings, cluster: str) -> CopyTarget:
    """Raises ImportError where what it needs is not installed."""
    if settings.log_store == "jetstream":
        from services.pusher.moving.jetstream_target import JetstreamTarget

        return JetstreamTarget(folder, settings, cluster)
    from services.pusher.moving.postgresql_target import PostgresqlTarget

    return PostgresqlTarget(folder, settings, cluster)


def _copy(source: SqliteSource, target: CopyTarget, progress: Progress) -> int:
    """Everything up to the source's end as it is now; returns how many ids of trimmed records there are."""
    end = source.ends().last
    while target.last_position < end:
        first = source.ends().first
        if target.last_position < first - 1:
            target.begin_at(first)
        piece = source.piece(target.last_position + 1)
        if piece.first_position != target.last_position + 1:
            if source.ends().first > target.last_position + 1:
                continue  # it was trimmed just now
            raise LogDamagedError(f"log record at position {target.last_position + 1} is missing")
        target.add(piece)
        progress("copying the log", min(target.last_position, end) - first + 1, end - first + 1)
    # Behind the records: what was trimmed before they were copied is in these by now.
    return sum(target.add_ids(path) for path in source.id_files())


def _check(source: SqliteSource, target: CopyTarget, progress: Progress) -> None:
    """Compares all that runs before this one have copied, while the pusher still goes on."""
    position, last = source.ends().first, target.last_position
    first = position
    while position <= last:
        piece = source.piece(position)
        if piece.first_position != position:  # trimmed just now
            position = max(position + 1, source.ends().first)
            continue
        kept = last - position + 1
        target.check(Piece(position, piece.update_ids[:kept], piece.frames[:kept]))
        position += len(piece.frames)
        progress("comparing the copy", min(position, last) - first, last - first + 1)


def _finish(source: SqliteSource, target: CopyTarget, progress: Progress, instead_of: str) -> int:
    fence = source.fence()
    if not fence.holder.startswith(MOVED):  # else a run before this one has come so far
        target.keep("copied_holder", f"{fence.holder}.")
    source.end_here(target.place, target.copy_id, instead_of)
    _check_place(source)
    old_ids = _copy(source, target, progress)
    small = Small(
        source.table("rules"),
        source.table("imports"),
        source.table("time_marks"),
        source.table("replaced_logs"),
        source.running_s(),
    )
    holder = target.kept("copied_holder")[:-1]
    # The epoch that was in force: nobody but its holder, who can't write the old log any more, may claim under it.
    target.finish(source.log_id, small, source.ends(), max(source.fence().epoch - 1, 1), holder)
    return old_ids
