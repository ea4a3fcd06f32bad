"""Histories of the core of messages, from seeds: a journal, a sender that answers as it likes, crashes at any point.

After each step what is promised is held against what was done; planted bugs have to be found.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from services.datatrax.messages.events import (
    Action,
    Answered,
    Event,
    Fate,
    Finish,
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
    Word,
)
from services.datatrax.messages.sending import Sending
from services.datatrax.messages.under_way import Lane, Message
from services.shared.cores import Tick

WINDOW, LETTERS, LIMIT = 4, 40, 120
STEPS_MAX = 20_000


class History:
    """One message, from its first letter to its last."""

    def __init__(self, seed: int, core: type[Sending]) -> None:
        self._draw = random.Random(seed)
        self._make = core
        self._now_s = 0.0
        #: What the journal has on disk.
        self.fates = dict.fromkeys(range(1, LETTERS + 1), Fate.WAITING)
        self.opted_out: set[int] = set()
        self.paused = False
        #: Letters that their sender took, how often; and those of it since the last crash.
        self.taken: Counter[int] = Counter()
        self._crashes = 0
        self._times: deque[float] = deque()
        self.is_over = False
        self._start()

    def _start(self) -> None:
        self._in_hand: set[int] = set()
        #: Members whose opt-out was told to be in force.
        self._refusing = set(self.opted_out)
        #: What the journal's thread has to do, and what it has done and not told yet: each in order.
        self._asked: deque[Callable[[], Event | None]] = deque()
        self._done: deque[Event] = deque()
        self.core = self._make({"sms": Lane(WINDOW, 0, 3, 1.0, 10.0)}, self._now_s)
        self._feed(Opened("a", "sms", paused=self.paused, limit_a_minute=LIMIT))

    def run(self) -> None:
        """To the end. Raises AssertionError where a promise is broken."""
        for _ in range(STEPS_MAX):
            if self.is_over:
                break
            self._step()
        assert self.is_over, "the message comes to no end"
        assert Fate.WAITING not in self.fates.values(), "it is over while letters wait"
        for number, fate in self.fates.items():
            assert (self.taken[number] > 0) >= (fate is Fate.SENT), f"letter {number} is noted as sent and was not"
        again = sum(count - 1 for count in self.taken.values() if count)
        assert again <= WINDOW * self._crashes, f"{again} letters were taken again in {self._crashes} crashes"

    def _step(self) -> None:
        steps = [self._work, self._work, self._tell, self._tell, self._answer, self._answer, self._pass_time]
        if self._draw.random() < 0.1:
            steps = [self._pause, self._opt_out, self._resend]
            if self._draw.random() < 0.2:
                steps = [self._crash]
        self._draw.choice(steps)()

    # -- what may happen

    def _work(self) -> None:
        if self._asked and (event := self._asked.popleft()()) is not None:
            self._done.append(event)

    def _tell(self) -> None:
        if self._done:
            self._feed(self._done.popleft())

    def _answer(self) -> None:
        if self._in_hand:
            number = self._draw.choice(sorted(self._in_hand))
            self._in_hand.discard(number)
            word = self._draw.choices(list(Word), (6, 1, 3))[0]
            self.taken[number] += word is Word.TAKEN
            self._feed(Answered("a", number, word))

    def _pass_time(self) -> None:
        due_s = self.core.deadline_s
        if due_s is not None:
            self._now_s = max(self._now_s, due_s)
        self._now_s += self._draw.choice([0.0, 0.0, 0.5, 3.0])
        self._feed(Tick())

    def _pause(self) -> None:
        self.paused = not self.paused
        self._feed(Paused("a") if self.paused else Resumed("a"))

    def _opt_out(self) -> None:
        number = self._draw.randint(1, LETTERS)

        def work() -> Event | None:
            self.opted_out.add(number)
            return OptedOut("a", (number,))

        self._asked.append(work)

    def _resend(self) -> None:
        """Dead letters wait anew."""

        def work() -> Event | None:
            dead = [number for number, fate in self.fates.items() if fate is Fate.DEAD]
            if not dead or len(self.taken) > 3 * LETTERS:
                return None
            self.fates |= dict.fromkeys(dead[:1], Fate.WAITING)
            return Opened("a", "sms", paused=self.paused, limit_a_minute=LIMIT)

        if self._draw.random() < 0.3:
            self._asked.append(work)

    def _crash(self) -> None:
        self._crashes += 1
        self._start()

    # -- the shell

    def _feed(self, event: Event) -> None:
        if isinstance(event, OptedOut):
            self._refusing |= set(event.numbers)
            event = OptedOut("a", tuple(each for each in event.numbers if each in self.core.held("a")))
        for action in self.core.handle(event, self._now_s):
            self._perform(action)
        self.core.validate()

    def _perform(self, action: Action) -> None:
        match action:
            case HandOver():
                self._hand_over(action.number)
            case Load():
                self._asked.append(partial(self._load, action))
            case Note():
                self._asked.append(partial(self._note, action))
            case Finish():
                # The journal refuses where letters wait anew, as it is asked behind what was asked before.
                self._asked.append(partial(self._finish, action.phase))

    def _hand_over(self, number: int) -> None:
        assert self.fates[number] is Fate.WAITING, f"letter {number} is handed over, which is {self.fates[number]}"
        assert number not in self._in_hand, f"letter {number} is with its sender twice"
        assert not self.paused, f"letter {number} is handed over though it is paused"
        assert number not in self._refusing, f"letter {number} is for somebody who wants none"
        self._in_hand.add(number)
        self._times.append(self._now_s)
        while self._times[0] <= self._now_s - 60.0:
            self._times.popleft()
        assert len(self._times) <= LIMIT, f"{len(self._times)} letters in a minute"

    def _load(self, action: Load) -> Event:
        waiting = [number for number, fate in self.fates.items() if fate is Fate.WAITING and number > action.after]
        return Loaded("a", tuple(Waiting(each, each in self.opted_out) for each in waiting[: action.count]))

    def _note(self, action: Note) -> Event:
        if self.fates[action.number] is Fate.WAITING:
            self.fates[action.number] = action.fate
        return Noted("a", (action.number,))

    def _finish(self, phase: Phase) -> None:
        self.is_over = phase is Phase.DONE and Fate.WAITING not in self.fates.values()


class ForgetsWhatIsUnderWay(Sending):
    """Hands over again what was read before its note was on disk."""

    def _load(self, message: Message, event: Loaded) -> None:
        flying, message.flying = message.flying, {}
        super()._load(message, event)
        message.flying = flying


class MakesRoomTooSoon(Sending):
    """Another letter goes before what became of one is on disk."""

    def _answered(self, message: Message, event: Answered, now_s: float) -> Iterator[Action]:
        actions = list(super()._answered(message, event, now_s))
        if actions:
            message.flying.pop(event.number)
        yield from actions


class SendsToWhomWantsNone(Sending):
    """An opt-out counts for what is read later only."""

    def _opted_out(self, message: Message, numbers: set[int]) -> Iterator[Action]:
        return iter(())


class GoesOnWhilePaused(Sending):
    """A pause holds nothing up."""

    def _told(self, message: Message, event: Event, now_s: float) -> Iterator[Action]:
        yield from () if isinstance(event, Paused) else super()._told(message, event, now_s)


@pytest.mark.parametrize("seed", range(150))
def test_what_is_promised_holds_in_every_history(seed: int) -> None:
    History(seed, Sending).run()


@pytest.mark.parametrize(
    "core",
    [ForgetsWhatIsUnderWay, MakesRoomTooSoon, SendsToWhomWantsNone, GoesOnWhilePaused],
    ids=lambda core: core.__name__,
)
def test_a_planted_bug_is_found(core: type[Sending]) -> None:
    def finds(seed: int) -> bool:
        try:
            History(seed, core).run()
        except AssertionError:
            return True
        return False

    assert any(finds(seed) for seed in range(150))
