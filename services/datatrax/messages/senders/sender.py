"""What every sender does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from services.datatrax.messages.events import Word


class Letter(NamedTuple):
    """What is handed over."""

    message_id: str
    member_id: str
    channel: str
    text: str
    columns: Mapping[str, str]

    @property
    def key(self) -> str:
        """The same whenever this letter is handed over, and no other one's: a message's id has no slash."""
        return f"{self.message_id}/{self.member_id}"


class Answer(NamedTuple):
    """What becomes of it."""

    word: Word
    reason: str = ""
    #: When to try again, in seconds, where the sender said so; else 0.
    after_s: float = 0.0
    #: What else it said: it may hold a member's data, so no log has it.
    detail: str = ""

    @property
    def text(self) -> str:
        """For those who look at a dead letter."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class Sender(Protocol):
    """One channel's."""

    async def start(self) -> None:
        """Before the first letter. Raises OSError where it can't be."""

    def has(self, message_id: str) -> Iterator[str]:
        """Members whose letters of that message it has for certain, whatever the journal knows: asked at a start.

        Blocks; in a thread. Raises OSError.
        """

    async def hand_over(self, letter: Letter) -> Answer:
        """Takes one. What goes wrong is an answer; it raises nothing. Many are under way at a time."""

    async def finish(self, message_id: str) -> None:
        """No letter of that message follows; may be told more than once. Raises OSError."""

    async def stop(self) -> None:
        """The last one has been answered."""
