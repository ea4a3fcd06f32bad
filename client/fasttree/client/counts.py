"""How a message says a number of things."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, and with its verb where the message has one: "1 node holds", "2 nodes hold".

    `many`: what follows any other number than 1; without it, `one` and an s.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
