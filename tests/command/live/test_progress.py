"""Long work says how far it is, how fast it goes and how long it takes yet."""

from __future__ import annotations

import io
import os

import pytest

from fasttree.command.output import Pace, Progress


class _Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_rate_and_the_time_left() -> None:
    clock = _Clock()
    pace = Pace(clock)
    assert pace.told("uploading", 0, 100_000_000, "bytes") == ""
    clock.now_s = 0.4
    assert pace.told("uploading", 1_000_000, 100_000_000, "bytes") == ""  # too early to say
    clock.now_s = 2.0
    assert pace.told("uploading", 20_000_000, 100_000_000, "bytes") == "10.0 MB/s, 0:08 left"
    clock.now_s = 4.0
    assert pace.told("pushed", 0, 0, "updates") == ""  # another work
    clock.now_s = 6.0
    assert pace.told("pushed", 5_000, 0, "updates") == "2,500 updates/s"
    assert pace.told("pushed", 10, 0, "updates") == ""  # begun anew


@pytest.mark.parametrize(("left", "shown"), [(59, "0:59"), (61, "1:01"), (3_700, "1:01:40")])
def test_times_are_shown_as_clocks_show_them(left: int, shown: str) -> None:
    clock = _Clock()
    pace = Pace(clock)
    pace.told("x", 0, left + 1, "rows")
    clock.now_s = 1.0
    assert pace.told("x", 1, left + 1, "rows") == f"1 rows/s, {shown} left"


def test_a_bar_on_a_terminal_never_longer_than_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    stream = _Terminal()
    progress = Progress(stream)
    progress.percent("uploading members.csv", 50, 100)
    assert stream.getvalue() == "\ruploading members.csv [##########----------] 50 %"
    progress.percent("x" * 80, 1, 100)
    assert len(stream.getvalue().rpartition("\r")[2]) == 59
    progress.clear()
    assert stream.getvalue().endswith("\r" + " " * 59 + "\r")


def test_without_a_terminal_a_line_for_each_quarter_or_none() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for done in range(101):
        progress.percent("uploading", done, 100)
        progress.percent("checking", done, 100, lines=False)
        progress.count("pushed", done, "updates")
    assert stream.getvalue().splitlines() == [f"uploading {percent} %" for percent in (0, 25, 50, 75, 100)]
