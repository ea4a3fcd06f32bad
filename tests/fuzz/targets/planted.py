"""Parsers with a fault each, which has to be found: none of them is among the targets."""

from __future__ import annotations

import time

from tests.fuzz.target import Run, Target


class _RefusedError(Exception):
    pass


def _crash() -> Run:
    def run(data: bytes) -> None:
        if not data.startswith(b"\x07"):
            raise _RefusedError("it begins with 7")
        data[4]

    return run


def _hang() -> Run:
    def run(data: bytes) -> None:
        if data.startswith(b"\x07"):
            time.sleep(3_600)

    return run


def _silence() -> Run:
    def run(data: bytes) -> None:
        if data:
            raise _RefusedError

    return run


TARGETS = [
    Target("planted.crash", _crash, (_RefusedError,), lambda: [b"\x07abcdef"]),
    Target("planted.hang", _hang, (), lambda: [b"abcdef"]),
    Target("planted.silence", _silence, (_RefusedError,)),
]
