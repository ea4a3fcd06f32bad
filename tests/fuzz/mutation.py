"""Inputs that are nearly good, the same ones in every run: for a short look, without libFuzzer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

#: Numbers and texts that have been trouble somewhere.
_NASTY = (
    *(b"", b"\0", b"\xff" * 4, b"\xff" * 8, b"\x80" + bytes(7), b"\x7f" + b"\xff" * 7, b"\x80" * 10, b"{", b"[" * 200),
    *(b"NaN", b"-1", b"9" * 40, b"1e999", b"\xed\xa0\x80", "\u202e".encode(), b"\r\n", b'"', b"\\u0000", b"../../"),
)


def mutated(seeds: Sequence[bytes], count: int, length_max: int, name: str) -> Iterator[bytes]:
    """`count` inputs made of these. `name`: another one gets others."""
    dice = random.Random(name)
    kept = list(seeds)
    for _ in range(count):
        data = bytearray(dice.choice(kept))
        for _ in range(dice.choice((1, 1, 2, 4))):
            _change(data, kept, dice)
        yield bytes(data[:length_max])


def _change(data: bytearray, seeds: Sequence[bytes], dice: random.Random) -> None:
    place = dice.randrange(len(data) + 1)
    end = min(len(data), place + dice.choice((1, 1, 2, 4, 30)))
    match dice.randrange(6):
        case 0 if place < len(data):
            data[place] ^= 1 << dice.randrange(8)
        case 1 if place < len(data):
            data[place] = dice.randrange(256)
        case 2:
            del data[place:end]
        case 3:
            data[place:place] = data[place:end] * dice.choice((1, 3, 20))
        case 4:
            data[place:end] = dice.choice(_NASTY)
        case _:
            other = dice.choice(seeds)
            start = dice.randrange(len(other) + 1)
            data[place:end] = other[start : start + dice.choice((1, 4, 30, 400))]
