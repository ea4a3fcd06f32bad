"""Events as text, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import pytest

from tests.scenarios.language import UnreadableError, read, write


class Place(Enum):
    ON_DISK = 1
    IN_MEMORY = 2


@dataclass(frozen=True)
class End:
    position: int
    sent_at_s: float = 0.0


@dataclass(frozen=True)
class Heard:
    node: str
    end: End
    place: Place | None = None
    whole: bool = True
    positions: Sequence[int] = ()
    kept: tuple[tuple[int, Place], ...] = ()
    ends: tuple[End, ...] = field(default_factory=tuple)


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("a:1 7", Heard("a:1", End(7))),
        ("position=7 node=-", Heard("", End(7))),
        ("a 7 0.25 in_memory no 1..3", Heard("a", End(7, 0.25), Place.IN_MEMORY, False, range(1, 4))),
        ("a 7 place=- kept=1:on_disk,2:in_memory", Heard("a", End(7), kept=((1, Place.ON_DISK), (2, Place.IN_MEMORY)))),
        ("a 7 ends=3:0.5,4:1", Heard("a", End(7), ends=(End(3, 0.5), End(4, 1.0)))),
        ("a 7 positions=5,3", Heard("a", End(7), positions=(5, 3))),
    ],
)
def test_an_event_of_words_is_written_as_words_that_make_the_same(text: str, heard: Heard) -> None:
    assert read(text.split(), Heard) == heard
    name, *words = write(heard).split()
    assert name == "Heard"
    assert read(words, Heard) == heard


def test_what_words_leave_out_is_as_in_the_defaults() -> None:
    assert read(["position=8"], Heard, Heard("a", End(7, 1.5), whole=False)) == Heard("a", End(8, 1.5), whole=False)


@pytest.mark.parametrize("text", ["a", "a 7 0 - yes - - - more", "a 7 node=b", "a 7 name=b"])
def test_words_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises((UnreadableError, ValueError)):
        read(text.split(), Heard)
