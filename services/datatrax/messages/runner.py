"""Does what the core of messages asks for: gathers, reads, hands over and writes down, and tells it what came of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from fasttree.client import Client
from fasttree.v1 import message_pb2
from services.datatrax.messages.audience.members import Audience, is_mended_by_the_caller
from services.datatrax.messages.events import (
    Action,
    Answered,
    Cancelled,
    Event,
    Finish,
    Gather,
    Gathered,
    GatherFailed,
    HandOver,
    Load,
    Loaded,
    Note,
    Noted,
    Opened,
    OptedOut,
    Paused,
    Phase,
    Resumed,
    Waiting,
    WallClock,
    Word,
)
from services.datatrax.messages.journal import Journal, LetterRow, Row
from services.datatrax.messages.journal_thread import JournalThread
from services.datatrax.messages.pace import Rate
from services.datatrax.messages.requests import opened_of
from services.datatrax.messages.senders.channels import Channel
from services.datatrax.messages.senders.hits import HITS_LOG, log_hit
from services.datatrax.messages.senders.sender import Answer, Letter
from services.datatrax.messages.sending import Sending
from services.datatrax.messages.settings import MessageSettings
from services.shared.clock import Clock, MonotonicClock, Timer
from services.shared.cores import Tick
from services.shared.debug.debug_log import DebugLog
from services.shared.serving.background import Background
from services.shared.serving.errors import FastTreeError, ResourceExhaustedError

logger = logging.getLogger(__name__)
#: Letters that are written down at once.
_LETTERS_AT_ONCE = 2_000
#: How often the wall clock is looked at, and how far it may be off before that counts, in seconds.
_CLOCK_INTERVAL_S, _CLOCK_OFF_S = 5.0, 0.5
#: How long what became of letters may take to be on disk at the end, in seconds.
_NOTES_S = 5.0


class MessageRunner:
    """The messages of one folder, which is this process's own."""

    def __init__(
        self,
        settings: MessageSettings,
        channels: Mapping[str, Channel],
        client: Client,
        background: Background,
        clock: Clock | None = None,
    ) -> None:
        """Raises StartupError, OSError. Blocks."""
        folder = Path(settings.message_folder).absolute()
        self.settings, self.channels, self.client = settings, channels, client
        self._background, self._clock = background, clock or MonotonicClock()
        self._kept = settings.messages_kept
        self.journal = Journal(folder)
        self.disk = JournalThread(self.journal)
        self.hits = DebugLog(folder / HITS_LOG, settings.message_log_bytes_max)
        self.core = Sending({name: each.lane for name, each in channels.items()}, self._clock.now_s(), random.random)
        #: Letters that the core holds, by message and number.
        self._letters: dict[str, dict[int, LetterRow]] = {}
        self._opened: dict[str, Opened] = {}
        self._rates: dict[str, Rate] = {}
        #: Why a message waits, beside its time.
        self._troubles: dict[str, str] = {}
        self._notes: list[Note] = []
        self._noting: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        #: All that is under way; of it, what is with senders.
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_hand: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.handed_over = self.failed_tries = 0

    async def start(self) -> None:
        """Goes on with what is not finished. Raises OSError."""
        for channel in self.channels.values():
            await channel.sender.start()
        self._feed(WallClock(time.time() - self._clock.now_s()))
        for row in await self.disk.call(self.journal.unfinished):
            message = message_pb2.Message.FromString(row.request)
            if message.channel not in self.channels:
                logger.error(
                    "message %s waits: there is no channel %s any more; put it back, or cancel the message",
                    row.message_id, message.channel,
                )  # fmt: skip
                continue
            if row.phase is Phase.SENDING:
                await self._ask_sender(row.message_id, self.channels[message.channel])
            self.begin(row, message)
        self._start(self._watch_clock(), "watches the wall clock")

    async def stop(self, grace_s: float) -> None:
        """No more letters; those with their senders are waited for so long, and what became of them is written down."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=grace_s)
        if self._noting is not None:
            await asyncio.wait([self._noting], timeout=max(grace_s, _NOTES_S))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in self.channels.values():
            await channel.sender.stop()
        await asyncio.to_thread(self.disk.close)
        self.hits.close()

    # -- what the service asks for; the journal has it already

    def begin(self, row: Row, message: message_pb2.Message) -> None:
        """A message begins, or goes on with letters that wait anew."""
        self._opened[row.message_id] = opened = opened_of(row, message)
        self._rates.setdefault(row.message_id, Rate())
        self._feed(opened)

    def pause(self, message_id: str, *, paused: bool) -> None:
        """It waits, or goes on."""
        self._feed(Paused(message_id) if paused else Resumed(message_id))

    async def cancel(self, message_id: str) -> None:
        """Nothing more of it goes out."""
        if message_id in self._opened:
            self._feed(Cancelled(message_id))
        else:  # of a channel that is there no more
            await self.disk.call(self.journal.finish, message_id, Phase.CANCELLED, "", time.time(), self._kept)

    async def opt_outs_changed(self) -> None:
        """Letters that are loaded are held against those in force now."""
        for message_id, opened in list(self._opened.items()):
            letters = self._letters.get(message_id, {})
            held = {letters[each].member_id: each for each in self.core.held(message_id) if each in letters}
            if not held:
                continue
            found = await self.disk.patiently(self.journal.opted_out_of, opened.channel, list(held))
            if found:
                self._feed(OptedOut(message_id, tuple(sorted(held[each] for each in found))))

    def rate_a_minute(self, message_id: str) -> float:
        """Letters of the last minute."""
        rate = self._rates.get(message_id)
        return rate.a_minute(self._clock.now_s()) if rate is not None else 0.0

    def trouble(self, message_id: str) -> str:
        """Why it waits, beside its time; empty: for nothing."""
        return self._troubles.get(message_id, "") or self.disk.problem

    def waits_until(self, message_id: str) -> float | None:
        """Until when it waits for its time or the end of quiet hours, in seconds since 1970; None: it does not."""
        now_s = self._clock.now_s()
        until_s = self.core.waits_until_s(message_id, now_s)
        return None if until_s is None else time.time() + until_s - now_s

    # -- the core

    def _feed(self, event: Event) -> None:
        for action in self.core.handle(event, self._clock.now_s()):
            self._perform(action)
        if self._timer is not None:
            self._timer.cancel()
        deadline_s = self.core.deadline_s
        self._timer = None
        if deadline_s is not None and not self._stopping:
            self._timer = self._clock.call_at(deadline_s, lambda: self._feed(Tick()))

    def _perform(self, action: Action) -> None:
        match action:
            case Note():
                self._notes.append(action)
                if self._noting is None:
                    self._noting = self._start(self._write_notes(), "notes letters")
            case _ if self._stopping:
                return  # the next process begins with it
            case Gather():
                self._start(self._gather(action.message_id), "gathers an audience")
            case Load():
                self._start(self._load(action), "reads letters")
            case HandOver():
                task = self._start(self._hand_over(action), "hands a letter over")
                self._in_hand.add(task)
                task.add_done_callback(self._in_hand.discard)
            case Finish():
                self._start(self._finish(action), "finishes a message")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._background.start(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _gather(self, message_id: str) -> None:
        row = await self.disk.patiently(self.journal.row, message_id)
        assert row is not None, f"message {message_id} was taken"
        try:
            total = await self._write_letters(message_id, message_pb2.Message.FromString(row.request))
        except FastTreeError as error:
            self._troubles[message_id] = str(error)
            again = not (is_mended_by_the_caller(error) or error.reason == "AUDIENCE_TOO_LARGE")
            logger.warning("message %s: %s%s", message_id, error, "; tries again" if again else "; nothing is sent")
            self._feed(GatherFailed(message_id, str(error), again))
            return
        self._troubles.pop(message_id, None)
        logger.info("message %s: %d letters", message_id, total)
        self._feed(Gathered(message_id))

    async def _write_letters(self, message_id: str, message: message_pb2.Message) -> int:
        """Raises FastTreeError."""
        audience, most = Audience(self.client, message), self.settings.message_recipients_max
        await self.disk.call(self.journal.begin_letters, message_id)
        total = dead = 0
        batch: list[LetterRow] = []
        async for letters in audience.letters():
            batch += letters
            total += len(letters)
            if total > most:
                raise ResourceExhaustedError(
                    f"the audience has more than {most:,} members, which datatrax.message_recipients_max allows",
                    reason="AUDIENCE_TOO_LARGE",
                )
            if len(batch) >= _LETTERS_AT_ONCE:
                dead += sum(bool(each.reason) for each in batch)
                await self.disk.call(self.journal.add_letters, message_id, batch)
                batch = []
        dead += sum(bool(each.reason) for each in batch)
        await self.disk.call(self.journal.add_letters, message_id, batch)
        as_of = audience.as_of.SerializeToString() if audience.as_of is not None else b""
        await self.disk.call(self.journal.gathered, message_id, as_of, total, dead)
        return total

    async def _load(self, action: Load) -> None:
        message_id = action.message_id
        opened = self._opened[message_id]
        rows = await self.disk.patiently(self.journal.load, message_id, opened.channel, action.after, action.count)
        if message_id in self.core.under_way:
            self._letters.setdefault(message_id, {}).update({row.number: row for row in rows})
        self._feed(Loaded(message_id, tuple(Waiting(row.number, row.opted_out) for row in rows)))

    async def _hand_over(self, action: HandOver) -> None:
        message_id, opened = action.message_id, self._opened[action.message_id]
        row = self._letters[message_id][action.number]
        letter = Letter(message_id, row.member_id, opened.channel, row.text, row.columns)
        begun_s = self._clock.now_s()
        try:
            answer = await self.channels[opened.channel].sender.hand_over(letter)
        except Exception as error:  # of a plug-in: the others go on
            logger.exception("the sender of %s failed", opened.channel)
            answer = Answer(Word.AGAIN, f"the sender failed: {type(error).__name__}")
        now_s = self._clock.now_s()
        log_hit(self.hits, letter, answer, now_s - begun_s)
        if answer.word is Word.AGAIN:
            self.failed_tries += 1
            self._troubles[message_id] = answer.reason
        else:
            self.handed_over += 1
            self._rates[message_id].add(now_s)
            self._troubles.pop(message_id, None)
        self._feed(Answered(message_id, action.number, answer.word, answer.text, answer.after_s))

    async def _write_notes(self) -> None:
        try:
            while self._notes:
                notes, self._notes = self._notes, []
                await self.disk.patiently(self.journal.note, notes)
                numbers: dict[str, list[int]] = {}
                for note in notes:
                    numbers.setdefault(note.message_id, []).append(note.number)
                for message_id, noted in numbers.items():
                    letters = self._letters.get(message_id, {})
                    for number in noted:
                        letters.pop(number, None)
                    self._feed(Noted(message_id, tuple(noted)))
        finally:
            self._noting = None

    async def _finish(self, action: Finish) -> None:
        message_id = action.message_id
        sender = self.channels[self._opened[message_id].channel].sender
        while True:
            try:
                await sender.finish(message_id)
                break
            except OSError as error:
                self._troubles[message_id] = str(error)
                await asyncio.sleep(1.0)
        await self.disk.patiently(self.journal.finish, message_id, action.phase, action.reason, time.time(), self._kept)
        if message_id not in self.core.under_way:  # else letters of it wait anew
            for known in (self._letters, self._opened, self._rates, self._troubles):
                known.pop(message_id, None)
        logger.info("message %s: %s", message_id, action.phase.name.lower())

    async def _ask_sender(self, message_id: str, channel: Channel) -> None:
        """Letters that went to their sender, and whose notes did not reach the disk. Raises OSError."""
        known = channel.sender.has(message_id)

        def some() -> list[str]:
            return list(itertools.islice(known, _LETTERS_AT_ONCE))

        found = 0
        while members := await asyncio.to_thread(some):
            found += await self.disk.call(self.journal.note_sent, message_id, members)
        if found:
            logger.info("message %s: its sender has %d letters more than were noted", message_id, found)

    async def _watch_clock(self) -> None:
        ahead_s = time.time() - self._clock.now_s()
        while True:
            await asyncio.sleep(_CLOCK_INTERVAL_S)
            now_s = time.time() - self._clock.now_s()
            if abs(now_s - ahead_s) > _CLOCK_OFF_S:
                ahead_s = now_s
                self._feed(WallClock(ahead_s))
