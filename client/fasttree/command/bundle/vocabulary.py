"""The words that our own code is made of: what a log may say without saying anything of a member."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import fasttree.client
import fasttree.command
import services

_WORD = re.compile(r"[^\W_]+")
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


def _words_of(path: Path) -> Iterator[str]:
    """Without comments and docstrings, which tell stories with people in them."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        texts: list[str] = []
        match node:
            case ast.Constant(value=str(text)):
                texts = [text] if len(text) < 1_000 else []
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.keyword(arg=str(text)) | ast.arg(arg=text):
                texts = [text]
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                texts = [text]
            case ast.ImportFrom(module=str(text)):
                texts = [text]
            case ast.Expr(value=ast.Constant(value=str())):
                node.value = ast.Constant(value=None)  # a docstring; walked after its statement
        for text in texts:
            yield from _WORD.findall(text)
