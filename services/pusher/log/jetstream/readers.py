"""What is read of a log in JetStream, from any thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

from fasttree.v1 import types_pb2
from services.pusher.log.frames import Run, join_runs, run_of
from services.pusher.log.jetstream.contents import LogContents
from services.pusher.log.jetstream.messages import Kind, Message, decode, head_of
from services.pusher.log.jetstream.places import Place
from services.pusher.log.jetstream.stream import Stream
from services.pusher.log.store import LogDamagedError, LogEnds, NotInLogError, StoredImport
from services.pusher.log.stored.frames import check_run, opened_frame, sound_updates, update_bytes
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.wire.record import RecordDamagedError

logger = logging.getLogger(__name__)

#: Replicas are asked so often for a record that can't be used: which one answers is chance.
_OTHERS: Final = 8
_SCAN_BYTES: Final = 4 << 20


class Readers:
    """Reads. `ends`: the log's, as they are known at the moment; `first_now`: where it begins, after a look."""

    def __init__(
        self, stream: Stream, contents: LogContents, ends: Callable[[], LogEnds], first_now: Callable[[], int]
    ) -> None:
        self._stream, self._contents, self._ends, self._first_now = stream, contents, ends, first_now

    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        """See `LogStore.read`."""
        ends = self._ends()
        if not ends.first <= first_position <= ends.last:
            raise NotInLogError(f"position {first_position} is not in the log ({ends.first} to {ends.last})")
        last_position = min(last_position, ends.last)
        runs: list[Run] = []
        size_bytes, wanted = 0, first_position
        for place, message in self._messages(self._contents.places.find(first_position, last_position, bytes_max)):
            if place.first_position > wanted:
                break  # told below, where it is the first
            run = self._run(place, message, wanted, last_position, bytes_max - size_bytes, is_first=not runs)
            if run is None:
                break
            runs.append(run)
            size_bytes += len(run.data)
            wanted = run.last_position + 1
            if wanted > last_position or run.last_position < place.last_position:
                break
        if not runs:
            raise self._missing(first_position)
        return join_runs(runs).cut(first_position, last_position, bytes_max)

    def _run(
        self, place: Place, message: Message | None, first: int, last: int, bytes_max: int, *, is_first: bool
    ) -> Run | None:
        """The part of a message that is wanted; None where it is damaged, and not the first.

        Raises LogDamagedError, NotInLogError.
        """
        try:
            if message is None:
                raise RecordDamagedError(f"log record at position {first} is missing")
            run = _sound(message)
        except RecordDamagedError as error:
            other = self._elsewhere(place)
            if other is not None:
                run = other
            elif is_first:
                return self._sound_part(place, message, first, error)
            else:
                return None
        return run.cut(first, min(last, run.last_position), max(bytes_max, 1)) if first <= run.last_position else None

    def _elsewhere(self, place: Place) -> Run | None:
        """A message's records, as another replica has them soundly."""
        for turn in range(_OTHERS):
            raw = self._stream.patiently(
                lambda: self._stream.at(place.sequence) if turn == 0 else self._stream.anywhere(place.sequence)  # noqa: B023
            )
            try:
                if raw is not None:
                    run = _sound(decode(raw.sequence, raw.data))
                    logger.warning("%s: message %d is sound on one server only", self._stream.place, place.sequence)
                    return run
            except (LogDamagedError, RecordDamagedError):
                continue
        return None

    def _sound_part(self, place: Place, message: Message | None, first: int, error: Exception) -> Run:
        """The records before the damaged one. Raises LogDamagedError where that is the first that is wanted."""
        if message is None:
            raise self._missing(first)
        sound: list[bytes] = []
        begin = 0
        for position, size in enumerate(head_of(message.draft).frame_bytes, place.first_position):
            frame = message.draft.body[begin : begin + size]
            begin += size
            if position < first:
                continue
            try:
                opened = opened_frame(position, frame)
                update_bytes(position, opened)  # one record, and sound
            except RecordDamagedError as damage:
                if sound:
                    break
                raise LogDamagedError(f"{damage} in {self._stream.place}", first) from error
            sound.append(opened)
        return run_of(first, sound)

    def _missing(self, position: int) -> LogDamagedError | NotInLogError:
        first = self._first_now()
        if first > position:
            return NotInLogError(f"position {position} is no longer in the log: it begins at {first}")
        return LogDamagedError(f"log record at position {position} is missing from {self._stream.place}", position)

    def _messages(self, places: list[Place]) -> Iterator[tuple[Place, Message | None]]:
        """The messages in their places; None where one is not there, or nothing can be said of it."""
        if len(places) == 1:
            raw = self._stream.patiently(lambda: self._stream.anywhere(places[0].sequence))
            found = {raw.sequence: raw.data} if raw is not None else {}
        else:
            raws = (
                self._stream.patiently(lambda: self._stream.records(places[0].sequence, len(places))) if places else []
            )
            found = {raw.sequence: raw.data for raw in raws}
        for place in places:
            data = found.get(place.sequence)
            if data is None:  # that replica may be behind
                leaders = self._stream.patiently(lambda: self._stream.at(place.sequence))  # noqa: B023
                data = leaders.data if leaders is not None else None
            try:
                yield place, decode(place.sequence, data) if data is not None else None
            except LogDamagedError as error:
                logger.error("%s: %s", self._stream.place, error)
                yield place, None

    def heads(self, first_position: int, last_position: int) -> Iterator[tuple[int, list[str], list[int]]]:
        """Of each message with positions between two: its first position, ids and content hashes.

        Raises LogDamagedError where one can't be read.
        """
        position = first_position
        while position <= last_position:
            for place, message in self._messages(self._contents.places.find(position, last_position, _SCAN_BYTES)):
                if message is None or place.first_position > position:
                    raise self._missing(position)
                update_ids, hashes, _ = head_of(message.draft)
                yield place.first_position, update_ids, list(hashes)
                position = place.last_position + 1

    def update_id_at(self, position: int) -> str:
        """See `LogStore.update_id_at`."""
        first, last = self._ends()
        if not first <= position <= last:
            return ""
        begin, update_ids, _ = next(self.heads(position, position))
        return update_ids[position - begin]

    def named(self, prefix: str) -> list[tuple[int, bytes]]:
        """See `LogStore.named`: quick for ids of the pusher's own, a look through the whole log for others."""
        first, last = self._ends()
        if prefix.startswith(OWN_ID_PREFIX):
            own = list(self._contents.own.items())
            positions = sorted(position for update_id, position in own if update_id.startswith(prefix))
        else:
            positions = [
                position
                for begin, update_ids, _ in self.heads(first, last)
                for position, update_id in enumerate(update_ids, begin)
                if update_id.startswith(prefix)
            ]
        return sound_updates(self._frames(positions), logger.error)

    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        """See `LogStore.rule_records`."""
        self._first_now()
        return self._contents.rule_records()

    def imports(self) -> list[StoredImport]:
        """See `LogStore.imports`."""
        self._first_now()
        return self._contents.stored_imports(self._stream.place)

    def position_marked_until(self, running_s: float) -> int:
        """The newest position that was marked by that running time; 0 if none was."""
        return self._contents.position_marked_until(running_s)

    def _frames(self, positions: list[int]) -> Iterator[tuple[int, bytes]]:
        for position in positions:
            try:
                yield position, self.read(position, position, 1).data
            except LogDamagedError as error:
                logger.error("%s", error)
            except NotInLogError:
                pass


def _sound(message: Message) -> Run:
    """All of a message's records. Raises RecordDamagedError."""
    draft = message.draft
    if draft.kind is not Kind.RECORDS:
        raise RecordDamagedError(f"message {message.after + 1} holds no records")
    run = check_run(draft.position, draft.body)
    if len(run.ends) != draft.count:
        raise RecordDamagedError(f"log record at position {draft.position + len(run.ends)} is missing")
    return run
