"""What is drawn fits, and nothing of the data is obeyed by the terminal."""

from __future__ import annotations

import io
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttree.command.screen.drawing import Screen, columns_of, fitted
from fasttree.command.screen.styled import Line, Style, Text, has_colours, rendered, table_lines
from fasttree.command.terminal import Plain

_OURS = re.compile("\x1b\\[[0-9;]*m")
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_TEXTS = st.text() | st.text("a\x1b[31m\x07\r\n\t\x85\x9b\u202e\u2067\u2028\u200d漢é")
_LINES = st.lists(st.builds(Text, _TEXTS, st.sampled_from(Style)), min_size=1, max_size=5)


@given(_LINES, st.booleans())
def test_of_a_text_nothing_is_obeyed_whatever_its_colour(line: Line, colours: bool) -> None:
    shown = rendered(line, colours=colours)
    assert _OBEYED.search(_OURS.sub("", shown) if colours else shown) is None
    assert "\n" not in shown


@given(_LINES, st.integers(3, 100))
def test_every_line_fits(line: Line, width: int) -> None:
    for part in fitted(line, width):
        assert sum(columns_of(piece.text) for piece in part) <= width


def test_a_sentence_goes_on_below_and_a_row_is_cut() -> None:
    sentence = [Text("n1 has been silent for 12 s: look at its log", Style.BAD)]
    assert [[piece.text for piece in part] for part in fitted(sentence, 24)] == [
        ["n1 has been silent for"],
        ["  12 s: look at its log"],
    ]
    row = [Text("n1  "), Text("passive", Style.GOOD)]
    assert ["".join(piece.text for piece in part) for part in fitted(row, 8)] == ["n1  pas…"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
    ids=["terminal", "no_color_empty", "no_color", "dumb", "unknown"],
)
def test_who_sees_colours(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], seen: bool) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_colours(_Terminal()) == seen
    assert not has_colours(io.StringIO())


def test_a_low_terminal_says_how_much_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 3)))
    raw = io.BytesIO()
    with Screen(Plain(raw, encoding="utf-8", newline="")) as screen:
        screen.draw([[Text(f"line {number}")] for number in range(5)])
    picture = raw.getvalue().decode().partition("\x1b[H")[2].partition("\x1b[J")[0]
    assert picture.replace("\x1b[K", "").split("\n") == [
        "line 0",
        "line 1",
        "… 3 lines below: a higher terminal shows them"[:40],
    ]


def test_a_table_has_no_blanks_at_the_end_of_its_lines() -> None:
    lines = table_lines(["node", "note"], [[Text("n1"), Text("a long one")], [Text("n2"), Text("")]])
    assert [rendered(line, colours=False) for line in lines] == ["node  note", "n1    a long one", "n2"]
