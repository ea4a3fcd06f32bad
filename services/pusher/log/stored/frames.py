"""As `services/pusher/log/frames.py`, of frames as they are stored: those that are sealed are opened first.

Each raises LogSealedError where a record is sealed, and its key is not here: that is no damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from services.pusher.log import frames
from services.pusher.log.frames import Run
from services.pusher.log.store import LogSealedError
from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.records import opened_frames, sealed_frames
from services.shared.wire.record import RecordDamagedError, encode_frames


def encoded(first_position: int, contents: Sequence[bytes]) -> tuple[list[bytes], Sequence[bytes]]:
    """Frames of consecutive positions for whoever follows the log, and the same as they are to be stored."""
    clear = encode_frames(first_position, contents)
    return clear, sealed_frames(first_position, clear)


def check_run(first_position: int, data: bytes) -> Run:
    """See `frames.check_run`."""
    opened = opened_frame(first_position, data)
    try:
        return frames.check_run(first_position, opened)
    except RecordDamagedError:
        # Clear records with sealed ones behind them, where nobody has looked at each: not one is told as damaged.
        opened_frame(first_position, data, each=True)
        raise


def update_bytes(position: int, frame: bytes) -> bytes:
    """See `frames.update_bytes`."""
    return frames.update_bytes(position, opened_frame(position, frame))


def sound_updates(stored: Iterable[tuple[int, bytes]], tell: Callable[[str], None]) -> list[tuple[int, bytes]]:
    """See `frames.sound_updates`."""
    found: list[tuple[int, bytes]] = []
    for position, frame in stored:
        try:
            found.append((position, update_bytes(position, frame)))
        except RecordDamagedError as error:
            tell(str(error))
    return found


def opened_frame(first_position: int, data: bytes, *, each: bool = False) -> bytes:
    """A frame as it was before it was stored, or several that follow each other. `each`: see `opened_frames`.

    Raises:
        RecordDamagedError: One is not what was sealed at its position.
    """
    try:
        return opened_frames(first_position, data, each=each)
    except SealDamagedError as error:
        raise RecordDamagedError(str(error)) from error
    except SealKeyError as error:
        raise LogSealedError(str(error)) from error
