"""A start that comes to no end says why, where one part waits for what another one has told in its log."""

from __future__ import annotations

from fasttree.command.local.complaints import complaints

AT = "2026-11-28 17:43:34,296"
NO_TABLES = "the log can't be read: schema fasttree has no tables of version 1: have the administrator make them"


def test_the_last_word_of_each_part_is_told_once() -> None:
    logs = {
        "coordinator-2": f"{AT} INFO coordinator a.b: listens\n{AT} WARNING coordinator a.b: permission denied\n",
        "pusher": f"{AT} ERROR pusher a.b: can't reach it\n{AT} ERROR pusher c.d: {NO_TABLES}\n  a further line\n",
        "pusher-2": f"{AT} ERROR pusher c.d: {NO_TABLES}\n{AT} WARNING pusher a.b: coordinator h:1: UNAVAILABLE\n",
        "n1": f"{AT} ERROR treenode a.b: nobody answers\n",
    }
    assert complaints(logs) == f"; coordinator-2: permission denied; pusher: {NO_TABLES}"
    assert complaints(dict.fromkeys(logs, "")) == ""
    many = {f"pusher-{number}": f"{AT} ERROR pusher a.b: {number}{'x' * 999}\n" for number in range(9)}
    assert len(complaints(many)) < 1_000
