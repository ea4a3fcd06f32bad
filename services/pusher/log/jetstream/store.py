"""The log in NATS JetStream: what a pusher asks for, as messages of one stream."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from services.pusher.log.damage import notes_damage
from services.pusher.log.disk.end_mark import Found, Promise, read_mark
from services.pusher.log.engine.engine_log import EngineLog, Known, NewUpdates, Taken
from services.pusher.log.fencing.fence import COPYING, Fence
from services.pusher.log.frames import Run
from services.pusher.log.ids.keys import content_hash, keys_of, recognized
from services.pusher.log.ids.runs import Entries
from services.pusher.log.jetstream.connecting import AwayError, Connection
from services.pusher.log.jetstream.contents import LogContents, entries_bytes
from services.pusher.log.jetstream.index import IdIndex
from services.pusher.log.jetstream.messages import (
    PIECE_BYTES,
    VERSION,
    Adoption,
    Draft,
    Founding,
    Kind,
    Message,
    record_drafts,
)
from services.pusher.log.jetstream.promise import ask_servers, promised
from services.pusher.log.jetstream.readers import Readers
from services.pusher.log.jetstream.stream import WRONG_SEQUENCE, Stream, StreamInfo, code_of
from services.pusher.log.jetstream.writing import Writer
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import (
    Durability,
    KnownDamage,
    LogDamagedError,
    LogEnds,
    LogStoreError,
    StoredImport,
)
from services.shared.clock import RunningTime

logger = logging.getLogger(__name__)

#: How often the running time is kept, how often the servers are asked what they are set to.
_KEEP_TIME_S: Final = 600.0
_LOOK_S: Final = 30.0
#: Some updates take so much.
_ROOM_BYTES: Final = 64 * 1024
#: Beside a piece, a message has its header, its ids, and one record that is over.
_PAYLOAD_MIN: Final = PIECE_BYTES + (256 << 10)
#: Of another log: the settings that lead to it, and what else there is to do.
_MENDS: Final = ("pusher.log_url and pusher.nats_stream", "bring back a whole copy of the stream")


class JetstreamLog(EngineLog):
    """The log in one stream.

    Args:
        folder: Exists; the mark of what was promised is kept there, outside of the servers, and the index of ids.
        cluster: The log is that one's, or new.

    Raises:
        LogDamagedError: The log is not the one that was promised, or has lost its end.
        LogStoreError: The servers refuse, or the stream is another cluster's, or none that a log can lie in.
        StoreFullError: They can't be reached.
    """

    _readers: Readers

    def __init__(
        self, folder: Path, settings: LogSettings, cluster: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.damage = KnownDamage()
        self._settings = settings.jetstream
        self._monotonic = monotonic
        self._mark_path = folder / "log.end"
        self._time = RunningTime(0.0, monotonic)
        self._kept_at, self._looks_again_at_s = -math.inf, -math.inf
        self._ends = LogEnds(1, 0)
        self._purge_is_due = False
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="jetstream-look")
        self._look_of_servers: Future[None] | None = None
        promise = read_mark(self._mark_path)
        self._connection = Connection(settings.log_url, self._settings)
        self._stream = Stream(self._connection, self._settings)
        self._ids = IdIndex(folder / "jetstream-ids")
        self._contents = LogContents(self._ids)
        self._writer = Writer(self._stream, self._settings, self._contents, self.damage, lambda: self._time.now_s())
        self._readers = Readers(self._stream, self._contents, self.ends, self._first_now)
        try:
            self._open(promise, cluster)
        except BaseException:
            self.close()
            raise

    def _open(self, promise: Promise, cluster: str) -> None:
        self._stream.patiently(self._connection.connect, 0.0)  # who opens tries again, and can say what it waits for
        if self._connection.payload_max < _PAYLOAD_MIN:
            raise LogStoreError(
                f"max_payload of {self._connection.place} is {self._connection.payload_max}: {_PAYLOAD_MIN} is needed"
            )
        found = self._stream.find(0.0)
        if found is None or not found.last:
            if promise.position:
                raise LogDamagedError(
                    f"{self._stream.place} is gone, and updates up to {promise.position} were acknowledged: see to "
                    f"{_MENDS[0]} first; where they are right, bring it back, or remove {self._mark_path} to begin a "
                    "new log: the nodes say then whether they have more"
                )
            found = found or self._stream.make()
            self._found(cluster)
        if found.replicas < self._settings.nats_replicas:
            logger.warning(
                "%s has %d replicas, not %d (nats_replicas)",
                self._stream.place,
                found.replicas,
                self._settings.nats_replicas,
            )
        self._look_at_promise()
        self._catch_up()
        founding = self._contents.founding
        if founding is None:
            raise LogStoreError(f"{self._stream.place} holds something else than a log: set nats_stream")
        if founding.version > VERSION:
            raise LogStoreError(f"{self._stream.place} has version {founding.version}, this program knows {VERSION}")
        if founding.cluster != cluster:
            raise LogStoreError(
                f"{self._stream.place} holds the log of cluster {founding.cluster}, not of {cluster}: set nats_stream"
            )
        holder = self._contents.fence.holder
        there = Found(self._stream.place, self.log_id, self._ends.last, *_MENDS, is_copy=holder == COPYING)
        self._check_promise(promise, there, holder)

    def _found(self, cluster: str) -> None:
        """Writes the first message, unless somebody else has just done so."""
        founding = msgspec.json.encode(Founding(VERSION, cluster, uuid.uuid4().hex))
        message = Message(Draft(Kind.FOUNDING, body=founding), 0, 0, 0, 1, 0.0, closes=True)

        def send() -> None:
            result = self._stream.publish(0, [(Kind.FOUNDING, message.encode())])[0]
            if isinstance(result, AwayError):
                raise result
            if code_of(result) and code_of(result) not in WRONG_SEQUENCE:
                raise LogStoreError(f"{self._stream.place} takes nothing: {result['error'].get('description')}")

        self._stream.patiently(send)

    def _catch_up(self) -> None:
        self._writer.catch_up()
        self._look()

    def _look(self) -> None:
        """What the messages say by now."""
        contents = self._contents
        self.log_id, self.adopted_reason = contents.log_id, contents.adopted_reason
        self.replaced_log_ids = contents.replaced_log_ids
        self._time = RunningTime(contents.running_s, self._monotonic)
        self._kept_at = self._time.now_s()
        self._ends = contents.ends
        self._look_at_mark()

    # -- who writes

    @property
    def _held(self) -> Fence | None:
        return self._writer.held

    def fence(self) -> Fence:
        self._look_if_reading()
        return self._contents.fence

    def _look_if_reading(self) -> None:
        """Who writes knows all there is; who does not, asks. What `ends` says stays as it is."""
        if self._writer.held is None:
            self._writer.catch_up()

    def _first_now(self) -> int:
        """Where the log begins, which another process may have trimmed since this one looked."""
        self._look_if_reading()
        return self._contents.ends.first

    @notes_damage
    def claim(self, epoch: int, holder: str = "") -> None:
        self._writer.claim(epoch, holder)
        self._look()
        self._open_mark()
        self._purge_is_due = True

    @notes_damage
    def follow(self, position: int, bytes_max: int) -> Run | None:
        self._catch_up()
        if position == self._ends.last:
            return None
        return self._readers.read(position + 1, self._ends.last, bytes_max)

    @property
    def place(self) -> str:
        """The stream and its servers, in words."""
        return self._stream.place

    def write(self, drafts: Sequence[Draft]) -> None:
        """One group of messages, as `Writer.write`: for who moves a log here."""
        self._writer.write(drafts)
        self._ends = self._contents.ends

    def word(self, name: str) -> str:
        """What the copying kept under that name; empty where nothing is."""
        return self._contents.words.get(name, "")

    # -- the log

    def _taken(self, update_ids: Sequence[str]) -> Taken | None:
        taken = self._ids.find(update_ids)
        return taken if taken or len(set(update_ids)) != len(update_ids) else None

    def _insert(self, first: int, updates: NewUpdates, rules: Sequence[tuple[int, bytes]]) -> None:
        hashes = [content_hash(content) for content in updates.contents]
        drafts = record_drafts(first, updates.update_ids, hashes, updates.frames)
        drafts += [Draft(Kind.RULE, first + index, body=content) for index, content in rules]
        self.write(drafts)

    def _known(self, update_ids: Sequence[str], contents: Sequence[bytes], taken: Taken) -> Known:
        self._writer.check_claim()
        self._ends = self._contents.ends
        return recognized(taken, update_ids, contents)

    def _check_claim(self) -> None:
        """`_known` has just done so."""

    @notes_damage
    def find(self, update_ids: Sequence[str]) -> set[str]:
        return set(self._ids.find(update_ids))

    # -- what else is written

    @notes_damage
    def trim(self, first_position: int, count_max: int) -> int:
        first, end = self._ends.first, self._trims_to(first_position, count_max)
        if end <= first:
            return 0
        self._writer.check_claim()  # else the records may be gone by now
        ids = [self._trimmed(*head, first, end) for head in self._readers.heads(first, end - 1)]
        self.write([*ids, Draft(Kind.TRIM, end)])
        self._purge_is_due = True
        self._purge()
        return end - first

    @staticmethod
    def _trimmed(begin: int, update_ids: list[str], hashes: list[int], first: int, end: int) -> Draft:
        """What stays of those of a message's records that are from `first` to before `end`."""
        part = slice(max(first - begin, 0), min(end - begin, len(update_ids)))
        keys = keys_of(update_ids[part])
        positions = np.arange(begin, begin + len(update_ids), dtype=np.uint64)[part]
        entries = Entries(keys.high, keys.low, np.array(hashes[part], dtype=np.uint64), positions)
        return Draft(Kind.IDS, body=entries_bytes(entries))

    def _purge(self) -> None:
        """Deletes the messages of records that are trimmed by now. Whoever does it, and when, changes nothing."""
        if not self._purge_is_due:
            return
        try:
            self._stream.purge(Kind.RECORDS, self._contents.places.first_sequence() or self._contents.sequence + 1)
        except (AwayError, LogStoreError) as error:
            logger.warning("%s: trimmed records can't be deleted yet: %s", self._stream.place, error)
        else:
            self._purge_is_due = False

    @notes_damage
    def merge_ids(self, is_over: Callable[[], bool] = bool) -> Callable[[], None] | None:
        return self._ids.merge(is_over)

    def id_checks(self, bytes_max: int) -> Sequence[Callable[[], None]]:
        return self._ids.checks(bytes_max)

    def keep_time(self) -> None:
        if self._time.now_s() - self._kept_at >= _KEEP_TIME_S:
            self.write([Draft(Kind.SPARE)])
            self._kept_at = self._time.now_s()

    def try_room(self) -> None:
        self.write([Draft(Kind.SPARE, body=bytes(_ROOM_BYTES))])
        self._stream.patiently(lambda: self._stream.purge(Kind.SPARE))

    def adopt(self, log_id: str, replaced_log_ids: Sequence[str], reason: str) -> None:
        adoption = msgspec.json.encode(Adoption(log_id, list(replaced_log_ids), reason))
        self.write([Draft(Kind.ADOPTION, body=adoption)])
        self.replaced_log_ids = self._contents.replaced_log_ids
        self.log_id, self.adopted_reason, self.vouched_for = log_id, reason, True
        self._open_mark()

    def save_import(self, stored: StoredImport) -> None:
        status = stored.status
        self.write([Draft(Kind.IMPORT, status.manifest.import_id, int(stored.taken), body=status.SerializeToString())])

    # -- upkeep

    def durability(self) -> Durability:
        """See `LogStore`: as of the last look."""
        return self._durability

    def waits_for(self) -> str:
        away = self._stream.tries_again.waits_for
        return f"{away}; see to the servers" if away else ""

    def _look_at_promise(self) -> None:
        """What the stream and its servers are set to. Raises AwayError, LogStoreError."""
        info: StreamInfo = self._stream.patiently(self._stream.info)
        self._durability = promised(info, ask_servers(self._settings.nats_monitoring_urls), self._stream.place)
        self._size_bytes = info.size_bytes

    def size_bytes(self) -> int:
        """See `LogStore`: of one replica, as of the last look; nobody waits for the servers."""
        return self._size_bytes

    def tend(self) -> None:
        """Has the servers asked what they are set to; nobody waits for that."""
        now_s = self._monotonic()
        if now_s < self._looks_again_at_s:
            return
        self._looks_again_at_s = now_s + _LOOK_S
        if self._look_of_servers is None or self._look_of_servers.done():
            self._look_of_servers = self._looking.submit(self._look_quietly)
        self._purge()
        self._keep_mark()

    def _look_quietly(self) -> None:
        try:
            self._look_at_promise()
        except LogStoreError as error:
            logger.info("%s", error)

    def close(self) -> None:
        self._looking.shutdown()
        self._connection.close()
        self._ids.close()
        self._close_mark()
