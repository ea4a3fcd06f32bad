"""What parts that start together say is wrong, where one waits for another one and can't know why."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: What nodes say comes from these two; and a pusher's warnings from coordinators, as a rule.
_TOLD = {
    "coordinator": re.compile(r"^\S+ \S+ (?:ERROR|WARNING) \S+ \S+: (.+)$", re.MULTILINE),
    "pusher": re.compile(r"^\S+ \S+ ERROR \S+ \S+: (.+)$", re.MULTILINE),
}
_TOLD_MAX = 3
_WORDS_MAX = 300


def complaints(logs: Mapping[str, str]) -> str:
    """The last one of each part, to be put behind what is said of the start; empty where there is none.

    Args:
        logs: What parts wrote since they were started, by their names.
    """
    last: dict[str, str] = {}
    for name, text in logs.items():
        told = _TOLD.get(name.partition("-")[0])
        if told is not None and (found := told.findall(text)):
            last.setdefault(found[-1][:_WORDS_MAX], name)
    return "".join(f"; {name}: {words}" for words, name in list(last.items())[:_TOLD_MAX])
