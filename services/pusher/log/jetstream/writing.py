"""One group of messages after another, each under the fence, and what became of each made sure of.

How a write is made sure of
---------------------------
1. Each message says which sequence it follows, and JetStream stores it there or nowhere. A claim is a message: behind
   it, what anybody else has sent follows a sequence that is not the last any more, however late it comes.
2. Where an answer is lost, the same bytes are sent again, to another server if need be, for the same place. Either they
   are stored now, or something is there: these bytes (it was stored the first time), or another one's (it never will
   be). Nothing is guessed from what is not there.
3. Until that is known, nothing else is written; where it can't be found out in time, the caller is told just that, and
   the claim is given up. A message of it that comes later is one of the log, or of a group that never counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Final

import msgspec

from services.pusher.log.fencing.fence import Fence
from services.pusher.log.jetstream.connecting import AwayError, Raw
from services.pusher.log.jetstream.contents import LogContents
from services.pusher.log.jetstream.messages import PIECE_BYTES, Claim, Draft, Kind, Message, decode
from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.jetstream.stream import NO_LEADER, RETRY_S, WRONG_SEQUENCE, Stream, code_of, words_of
from services.pusher.log.store import (
    DeposedError,
    KnownDamage,
    LogDamagedError,
    OutcomeUnknownError,
    StoreFullError,
)

logger = logging.getLogger(__name__)

#: Replicas are asked so often for a message that can't be used: which one answers is chance.
_OTHERS: Final = 8


class _DisplacedError(Exception):
    """Another message is where this one should have been: it is not stored, and never will be."""


class _RefusedError(StoreFullError):
    """The servers have no room."""


class _BehindError(AwayError):
    """The stream's leader has less than was there before."""


class Writer:
    """Reads the stream into `contents`, and writes to it. `lock` is held while `contents` changes."""

    def __init__(
        self,
        stream: Stream,
        settings: JetstreamSettings,
        contents: LogContents,
        damage: KnownDamage,
        now_s: Callable[[], float],
    ) -> None:
        self._stream, self._settings, self._damage = stream, settings, damage
        self.contents = contents
        self._now_s = now_s
        self.lock = RLock()
        #: What this process claimed; None until it has, and where it is known to be deposed.
        self.held: Fence | None = None
        #: The claim is to be written with the first write: there was no room for it.
        self._claim_is_due = False
        #: Why ids that were taken may not be known.
        self._unknown: LogDamagedError | None = None

    # -- reading on

    def catch_up(self) -> None:
        """Reads what others have stored. Raises LogStoreError."""
        with self.lock:
            for _ in range(2):  # what was trimmed in between is known to be with the second look
                try:
                    last = self._stream.patiently(self._last)
                except StoreFullError as error:
                    if isinstance(error.__cause__, _BehindError):
                        raise LogDamagedError(str(error.__cause__)) from error
                    raise
                self._stream.patiently(lambda until=last: self._read_to(until))  # type: ignore[misc]
                if self.contents.missing() is None:
                    self._unknown = None
                    return
            self._note_missing()

    def _last(self) -> int:
        last = self._stream.info().last
        if last < self.contents.sequence:
            raise _BehindError(
                f"{self._stream.place} ends with message {last}, but had {self.contents.sequence}: it has lost its "
                "end; bring back a whole copy",
                was_sent=False,
            )
        return last

    def _read_to(self, last: int) -> None:
        for raw in self._stream.all(self.contents.sequence + 1, last):
            message = self._message(raw)
            if message is not None:
                self.contents.add(raw.sequence, message, len(raw.data))
            self.contents.sequence = raw.sequence
        self.contents.sequence = last

    def _message(self, raw: Raw) -> Message | None:
        """The message, from another replica where this one's is damaged; None where it is on all of them."""
        try:
            return decode(raw.sequence, raw.data)
        except LogDamagedError as error:
            problem = error
        for turn in range(_OTHERS):
            other = self._stream.anywhere(raw.sequence) if turn else self._stream.at(raw.sequence)
            if other is not None and other.data != raw.data:
                try:
                    message = decode(raw.sequence, other.data)
                except LogDamagedError:
                    continue
                logger.warning("%s: %s on one server, sound on another one", self._stream.place, problem)
                return message
        logger.error("%s: %s", self._stream.place, problem)
        self._damage.note(problem)
        return None

    def _note_missing(self) -> None:
        gap = self.contents.missing()
        assert gap is not None
        self._unknown = LogDamagedError(
            f"log records at positions {gap[0]} to {gap[1]} are missing from {self._stream.place}, and their ids with "
            "them: bring back a whole copy of the stream",
            gap[0],
        )
        logger.error("%s", self._unknown)
        self._damage.note(self._unknown)

    # -- the claim

    def claim(self, epoch: int, holder: str) -> Fence:
        """Claims the log, after all that others have stored is known. Raises as `LogStore.claim`."""
        while True:
            self.catch_up()
            if self._unknown is not None:
                raise self._unknown
            before = self.contents.fence
            fence = before.claimed(epoch, holder)
            try:
                self._write_claim(fence)
            except _DisplacedError:
                continue
            except OutcomeUnknownError as error:  # claiming again is sure either way
                raise StoreFullError(f"whether the claim was stored is not known: {error}") from error
            except _RefusedError:
                if (before.epoch, before.holder) != (epoch, holder):
                    raise
                self._claim_is_due = True
            else:
                self._claim_is_due = False
            self.held = fence
            return fence

    def _write_claim(self, fence: Fence) -> None:
        draft = Draft(Kind.CLAIM, body=msgspec.json.encode(Claim(fence.epoch, fence.holder)))
        self._store([draft], fence.claims)

    def check_claim(self) -> None:
        """Raises DeposedError where this process may not write."""
        if self.held is None:
            self.contents.fence.check(None)
        elif self._stream.patiently(self._last) != self.contents.sequence:
            self.catch_up()
            self._check_fence()

    def _check_fence(self) -> None:
        fence = self.contents.fence
        try:
            if not self._claim_is_due or self.held is None:
                fence.check(self.held)
            elif fence.claims != self.held.claims - 1:
                raise DeposedError(fence.epoch)
        except DeposedError:
            self.held = None
            raise

    # -- writes

    def write(self, drafts: Sequence[Draft]) -> None:
        """One group: all of it or nothing, and nothing but under the newest claim.

        Raises:
            DeposedError, StoreFullError, LogDamagedError: Nothing was stored that counts.
            OutcomeUnknownError: Nobody knows whether it was. The claim is given up.
        """
        while True:
            self._check_fence()
            assert self.held is not None
            try:
                if self._claim_is_due:
                    self._write_claim(self.held)
                    self._claim_is_due = False
                self._store([piece for draft in drafts for piece in draft.pieces(PIECE_BYTES)], self.held.claims)
            except _DisplacedError:  # by somebody's claim; or by a part of a group of its own that had no room
                self.catch_up()
            else:
                return

    def _store(self, drafts: Sequence[Draft], claims: int) -> None:
        """Writes a group behind what is known, and takes it into the contents."""
        group, number, now_s = self.contents.sequence, self.contents.number, self._now_s()
        messages: list[Message] = []
        for after, draft in enumerate(drafts, group):
            number += draft.kind not in (Kind.RECORDS, Kind.SPARE)
            closes = after == group + len(drafts) - 1
            messages.append(Message(draft, claims, after, group, number, now_s, closes))
        encoded = [(message.draft.kind, message.encode()) for message in messages]
        _Sending(self._stream, group, encoded, self._settings.nats_patience_s).run(self._given_up)
        with self.lock:
            for sequence, message, (_, data) in zip(
                range(group + 1, group + 1 + len(messages)), messages, encoded, strict=True
            ):
                self.contents.add(sequence, message, len(data))

    def _given_up(self, problem: str) -> OutcomeUnknownError:
        self.held = None
        epoch = self.contents.fence.epoch
        return OutcomeUnknownError(epoch, f"whether the last update was stored is not known: {problem}")


class _Sending:
    """The messages of one group on their way to their places."""

    def __init__(self, stream: Stream, after: int, messages: Sequence[tuple[Kind, bytes]], patience_s: float) -> None:
        self._stream, self._after, self._messages = stream, after, messages
        self._ends_at_s = time.monotonic() + patience_s
        #: How many are known to be in their places.
        self._stored = 0
        #: Whether one may have been stored of which that is not known.
        self._is_unsure = False
        self._problem = ""
        self._lost_end = ""

    def run(self, unknown: Callable[[str], OutcomeUnknownError]) -> None:
        """Raises _DisplacedError, StoreFullError, LogDamagedError, and what `unknown` makes of the problem."""
        while True:
            self._send()
            if self._stored == len(self._messages):
                self._stream.tries_again.over(self._stream.place)
                return
            if time.monotonic() + RETRY_S > self._ends_at_s:
                if self._lost_end:
                    raise LogDamagedError(self._lost_end)
                if self._is_unsure:
                    raise unknown(self._problem)
                raise StoreFullError(f"can't use {self._stream.place}: {self._problem}; see to the servers")
            self._stream.tries_again.because(f"{self._stream.place}: {self._problem}")
            time.sleep(RETRY_S)

    def _send(self) -> None:
        """Sends those that are not known to be in their places."""
        results = self._stream.publish(self._after + self._stored, self._messages[self._stored :])
        self._is_unsure |= any(isinstance(result, AwayError) and result.was_sent for result in results)
        for result in results:
            if isinstance(result, AwayError):
                self._problem = str(result)
                return
            code = code_of(result)
            if code == 0:
                if result["seq"] != self._after + self._stored + 1:
                    raise LogDamagedError(f"{self._stream.place} stored a message out of its place, at {result['seq']}")
                self._stored += 1
                continue
            self._problem = words_of(result)
            if code in WRONG_SEQUENCE:
                self._look_up()
            elif code not in NO_LEADER and not self._is_unsure:
                raise _RefusedError(f"{self._stream.place} takes nothing: {self._problem}; make room")
            return

    def _look_up(self) -> None:
        """What is in the places of those that are not known to be there."""
        try:
            while self._stored < len(self._messages):
                found = self._stream.at(self._after + self._stored + 1)
                if found is None:
                    last = self._stream.info().last
                    self._lost_end = ""
                    if last < self._after:
                        self._lost_end = (
                            f"{self._stream.place} ends with message {last}, but {self._after} was acknowledged: it "
                            "has lost its end; bring back a whole copy"
                        )
                    return
                if found.data != self._messages[self._stored][1]:
                    raise _DisplacedError
                self._stored += 1
        except AwayError as error:
            self._problem = str(error)
