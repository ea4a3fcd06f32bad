"""The words that our own code is made of: what a log may say without saying anything of a member."""

from __future__ import annotations

import os
import re
from pathlib import Path

import fasttree.client
import fasttree.command
import services

_WORD = re.compile(r"[^\W_]+")
_STORIES = re.compile(r'"""(?:[^\\]|\\.)*?"""|#[^\n]*', re.DOTALL)
#: Of gRPC, Python and Envoy, whose errors stand in our logs.
_OTHERS = """
Traceback most recent call last File line in module During handling of above exception another occurred
ipv4 ipv6 unix UNKNOWN Failed failed connect remote host addresses error RST_STREAM GOAWAY received Socket closed
admin address starting main dispatch loop warning info critical upstream downstream cluster listener
"""


def vocabulary() -> frozenset[str]:
    """Names and texts of the services and the command, and the system's words for its errors. Blocks, for seconds."""
    words = set(_WORD.findall(_OTHERS))
    for number in range(1, 134):
        words.update(_WORD.findall(os.strerror(number)))
    for package in (services, fasttree.client, fasttree.command):
        for folder in package.__path__:
            for path in Path(folder).rglob("*.py"):
                words.update(_words_of(path))
    return frozenset(words)


def _words_of(path: Path) -> list[str]:
    """Without comments and long texts, docstrings among them: they tell stories with people in them. By patterns:
    a parser takes ten times as long, and a word too few is no harm."""
    return _WORD.findall(_STORIES.sub("", path.read_text(encoding="utf-8", errors="replace")))
