"""Which letter is handed over when.

1. A message's recipients are written down whole, as of one position, before anything of it goes out; messages take
   turns with that. Where it fails for good, nothing was sent.
2. A letter goes out when its message is not paused, its time has come, no quiet hours hold, its message's and its
   channel's pace allow it, and the channel's window has room. Messages of a channel take turns.
3. It stays in the window until what became of it is on disk. So of a channel no more letters than that can be handed
   over again after a crash: those whose answers were not on disk. They go out under the same keys.
4. A sender takes a letter, refuses it for good (it is dead), or can't say: then it is tried again, after a wait that
   grows, so many times; then it is dead.
5. Who wants none gets none, up to the moment at which the letter is with its sender. What is there is not called back,
   neither by an opt-out nor by a pause nor by a cancellation.
6. A message that is paused, or waits for its time, has nothing in the window but what is with its sender.
7. A message is done when no letter of it waits or is under way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from services.datatrax.messages.events import (
    Action,
    Answered,
    Cancelled,
    Event,
    Fate,
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
from services.datatrax.messages.pace import Pace
from services.datatrax.messages.quiet import QuietHours
from services.datatrax.messages.under_way import Flying, Lane, Message
from services.shared.backoff import Backoff

#: Waits between two tries to gather an audience, in seconds.
_GATHER_INITIAL_S, _GATHER_MAX_S = 1.0, 60.0


class Sending:
    """The messages that are not over yet. `random`: draws from [0, 1)."""

    def __init__(self, lanes: Mapping[str, Lane], now_s: float, random: Callable[[], float] = lambda: 1.0) -> None:
        self._lanes = lanes
        self._paces = {channel: Pace(lane.limit_a_minute, now_s) for channel, lane in lanes.items()}
        self._waits = {
            channel: Backoff(lane.retry_initial_s, max(lane.retry_initial_s, lane.retry_max_s), random)
            for channel, lane in lanes.items()
        }
        self._gather_waits = Backoff(_GATHER_INITIAL_S, _GATHER_MAX_S, random)
        #: In the order of their turns.
        self._messages: dict[str, Message] = {}
        #: How far the wall clock is ahead.
        self._ahead_s = 0.0

    @property
    def under_way(self) -> Mapping[str, int]:
        """Letters in a window, by message."""
        return {message_id: len(each.flying) for message_id, each in self._messages.items()}

    def held(self, message_id: str) -> list[int]:
        """Letters of a message that an opt-out may still keep from going out, or from going out again."""
        message = self._messages.get(message_id)
        if message is None:
            return []
        flying = [number for number, each in message.flying.items() if not each.noting]
        return [each.number for each in message.ready] + flying

    def waits_until_s(self, message_id: str, now_s: float) -> float | None:
        """Until when a message waits for its time or for the end of quiet hours; None: it does not."""
        message = self._messages.get(message_id)
        return message.gate_s if message is not None and message.gate_s > now_s else None

    @property
    def deadline_s(self) -> float | None:
        """See `services.shared.cores`."""
        found = [self._due_s(each) for each in self._messages.values()]
        soonest_s = min(found, default=math.inf)
        return None if soonest_s == math.inf else soonest_s

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """See `services.shared.cores`."""
        actions: list[Action] = []
        match event:
            case Opened():
                self._open(event, now_s)
            case WallClock():
                self._ahead_s = event.ahead_s
                for each in self._messages.values():
                    each.gate_s = -math.inf
            case Gathered() | GatherFailed() | Loaded() | Answered() | Noted() | OptedOut() | Paused() | Resumed():
                if (message := self._messages.get(event.message_id)) is not None:
                    actions += self._told(message, event, now_s)
            case Cancelled():
                self._cancel(event.message_id)
        return actions + list(self._go_on(now_s))

    def validate(self) -> None:
        """See `services.shared.cores`."""
        for channel, lane in self._lanes.items():
            flying = self._flying_of(channel)
            assert flying <= lane.window, f"{flying} letters of {channel} in a window of {lane.window}"
        for message_id, each in self._messages.items():
            ready = [letter.number for letter in each.ready]
            assert len(set(ready)) == len(ready), f"{message_id} would hand a letter over twice"
            assert not each.flying.keys() & set(ready), f"{message_id} would hand over what is under way"
            assert not ready or max(ready) <= each.cursor, f"{message_id} would load again what is loaded"
            assert each.phase in (Phase.GATHERING, Phase.SENDING, Phase.CANCELLED), f"{message_id} is over"
        assert sum(each.gathering for each in self._messages.values()) <= 1, "two audiences are gathered at once"

    def _open(self, opened: Opened, now_s: float) -> None:
        message = self._messages.get(opened.message_id)
        if message is not None:  # letters of it wait anew
            message.begin_again()
            return
        pace = Pace(opened.limit_a_minute, now_s)
        has_letters = opened.phase is not Phase.CANCELLED
        self._messages[opened.message_id] = Message(opened, opened.phase, opened.paused, pace, more=has_letters)

    def _cancel(self, message_id: str) -> None:
        message = self._messages.get(message_id)
        if message is None:
            return
        message.let_go()
        message.phase, message.more = Phase.CANCELLED, False
        message.ready.clear()

    def _told(self, message: Message, event: Event, now_s: float) -> Iterator[Action]:
        match event:
            case Gathered():
                message.gathering = False
                if message.phase is Phase.GATHERING:
                    message.phase = Phase.SENDING
            case GatherFailed():
                message.gathering = False
                if not event.again and message.phase is Phase.GATHERING:
                    del self._messages[event.message_id]
                    yield Finish(event.message_id, Phase.FAILED, event.reason)
                message.gather_s = now_s + self._gather_waits.wait_s(message.gather_failures)
                message.gather_failures += 1
            case Loaded():
                self._load(message, event)
            case Answered():
                yield from self._answered(message, event, now_s)
            case Noted():
                for number in event.numbers:
                    message.flying.pop(number, None)
            case OptedOut():
                yield from self._opted_out(message, set(event.numbers))
            case Paused():
                message.paused = True
                message.let_go()
            case Resumed():
                message.paused = False

    def _load(self, message: Message, event: Loaded) -> None:
        message.loading, was_stale = False, message.stale
        message.stale = False
        if was_stale or message.phase is not Phase.SENDING:
            return
        asked = _ahead(self._lane(message))
        message.more = len(event.letters) >= asked
        for each in event.letters:
            message.cursor = max(message.cursor, each.number)
            # Under way already: it was read before its note was on disk.
            if each.number not in message.flying:
                message.ready.append(each)

    def _answered(self, message: Message, event: Answered, now_s: float) -> Iterator[Action]:
        flying = message.flying.get(event.number)
        if flying is None or flying.noting or flying.again_s is not None:
            return
        lane = self._lane(message)
        if event.word is Word.AGAIN and flying.opted_out:
            flying.noting = True
            yield Note(message.opened.message_id, event.number, Fate.OPTED_OUT, flying.attempts)
            return
        if event.word is Word.AGAIN and flying.attempts < lane.attempts_max:
            if message.phase is Phase.CANCELLED:
                del message.flying[event.number]
                return
            wait_s = self._waits[message.opened.channel].wait_s(flying.attempts - 1)
            flying.again_s = now_s + max(wait_s, min(event.after_s, lane.retry_max_s))
            if message.paused or now_s < message.gate_s:
                message.let_go()
            return
        fate = Fate.SENT if event.word is Word.TAKEN else Fate.DEAD
        flying.noting = True
        yield Note(message.opened.message_id, event.number, fate, flying.attempts, event.reason)

    def _opted_out(self, message: Message, numbers: set[int]) -> Iterator[Action]:
        ready = [Waiting(each.number, each.opted_out or each.number in numbers) for each in message.ready]
        message.ready = deque(ready)
        for number in numbers & message.flying.keys():
            flying = message.flying[number]
            flying.opted_out = True
            if flying.again_s is not None:
                flying.again_s, flying.noting = None, True
                yield Note(message.opened.message_id, number, Fate.OPTED_OUT, flying.attempts)

    # -- what is to be done now

    def _go_on(self, now_s: float) -> Iterator[Action]:
        yield from self._gather(now_s)
        for channel in self._lanes:
            yield from self._hand_over(channel, now_s)
        for message_id, message in list(self._messages.items()):
            if self._wants_more(message):
                message.loading = True
                yield Load(message_id, message.cursor, _ahead(self._lane(message)))
            elif message.is_over and message.phase is not Phase.GATHERING and not message.gathering:
                del self._messages[message_id]
                yield Finish(message_id, Phase.DONE if message.phase is Phase.SENDING else message.phase)

    def _gather(self, now_s: float) -> Iterator[Action]:
        if any(each.gathering for each in self._messages.values()):
            return
        for message_id, message in self._messages.items():
            if message.phase is Phase.GATHERING and message.gather_s <= now_s:
                message.gathering = True
                yield Gather(message_id)
                return

    def _hand_over(self, channel: str, now_s: float) -> Iterator[Action]:
        """As many as may go, message by message."""
        waiting = deque(each for each in self._messages.values() if each.opened.channel == channel)
        pace, window = self._paces[channel], self._lanes[channel].window
        free = window - self._flying_of(channel)
        while waiting:
            message = waiting.popleft()
            if (action := self._next(message, pace, free, now_s)) is None:
                continue
            message_id = message.opened.message_id
            self._messages[message_id] = self._messages.pop(message_id)  # the others come first now
            free = window - self._flying_of(channel)
            yield action
            waiting.append(message)

    def _next(self, message: Message, channel_pace: Pace, free: int, now_s: float) -> Action | None:
        """The next letter of a message; None where none may go."""
        message_id = message.opened.message_id
        if message.phase is not Phase.SENDING or message.paused:
            return None
        if message.ready and message.ready[0].opted_out:
            if not free:
                return None
            number = message.ready.popleft().number
            message.flying[number] = Flying(attempts=0, noting=True)
            return Note(message_id, number, Fate.OPTED_OUT)
        again = next(message.retries(now_s), None)
        if again is None and not (message.ready and free):
            return None
        if not self._is_time(message, now_s) or max(message.pace.due_s, channel_pace.due_s) > now_s:
            return None
        message.pace.take(now_s)
        channel_pace.take(now_s)
        if again is not None:
            flying = message.flying[again]
            flying.attempts, flying.again_s = flying.attempts + 1, None
            return HandOver(message_id, again)
        number = message.ready.popleft().number
        message.flying[number] = Flying()
        return HandOver(message_id, number)

    def _is_time(self, message: Message, now_s: float) -> bool:
        if now_s < message.gate_s:
            return False
        # Where a gate has opened, it has, whatever is lost by rounding.
        wall_s = max(now_s + self._ahead_s, message.gate_wall_s if message.gate_s > -math.inf else -math.inf)
        until_s = message.opened.not_before_s
        quiet: QuietHours | None = message.opened.quiet
        if until_s <= wall_s:
            end_s = quiet.end_s(wall_s) if quiet is not None else None
            if end_s is None:
                return True
            until_s = end_s
        message.gate_wall_s, message.gate_s = until_s, max(until_s - self._ahead_s, math.nextafter(now_s, math.inf))
        message.let_go()
        return False

    def _wants_more(self, message: Message) -> bool:
        low = self._lane(message).window
        return message.phase is Phase.SENDING and message.more and not message.loading and len(message.ready) < low

    def _due_s(self, message: Message) -> float:
        """When it has something to do if nothing happens before."""
        if message.phase is Phase.GATHERING:
            busy = message.gathering or any(each.gathering for each in self._messages.values())
            return math.inf if busy else message.gather_s
        if message.phase is not Phase.SENDING or message.paused:
            return math.inf
        channel = message.opened.channel
        due_s = min((each.again_s for each in message.flying.values() if each.again_s is not None), default=math.inf)
        if message.ready and self._flying_of(channel) < self._lanes[channel].window:
            due_s = -math.inf
        if due_s == math.inf:
            return due_s
        return max(due_s, message.gate_s, message.pace.due_s, self._paces[channel].due_s)

    def _flying_of(self, channel: str) -> int:
        """Slots of a channel that are taken."""
        return sum(len(each.flying) for each in self._messages.values() if each.opened.channel == channel)

    def _lane(self, message: Message) -> Lane:
        return self._lanes[message.opened.channel]


def _ahead(lane: Lane) -> int:
    """Letters to load at once."""
    return 2 * lane.window
