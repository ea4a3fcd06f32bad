"""Reads docs/ways.md, and tells whether a step leads to the next."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "ways.md"

_STEP = re.compile(r"^\| (\d+) \| `([\w/.]+)` \| (.+?) \| ?(.*?) ?\|$", re.MULTILINE)
_BESIDE = re.compile(r"^\| (`[\w/.]+`(?:, `[\w/.]+`)*) \| (.+) \|$", re.MULTILINE)
_REACHED = re.compile(r"`(\w+)`(?: from (\d+))?(?:, in another process)?")


@dataclass(frozen=True)
class Step:
    """A row of a way."""

    number: int
    path: str
    what: str
    #: The name that leads here, and the number of the step that it leads from.
    name: str
    reached_from: int
    #: Whether the file is run by a process that this one starts: not to be seen from here.
    elsewhere: bool


@dataclass(frozen=True)
class Way:
    """A section of the page."""

    steps: tuple[Step, ...]
    #: Files and folders beside the way.
    beside: tuple[str, ...]

    @property
    def paths(self) -> list[str]:
        return [step.path for step in self.steps]

    def is_beside(self, path: str) -> bool:
        """Listed there, or in a folder that is."""
        return any(path == place or path.startswith(f"{place}/") for place in self.beside)


def way(title: str) -> Way:
    """The way under a heading, and what is beside it."""
    text = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = [part for part in text if part.startswith(f"{title}\n")]
    on, _, beside = section.partition("\n### ")
    steps = []
    for number, path, what, reached in _STEP.findall(on):
        match = _REACHED.fullmatch(reached)
        assert match or number == "1", f"step {number}: say by which name it is reached, as in `name` or `name` from 3"
        name, reached_from = (match[1], int(match[2] or int(number) - 1)) if match else ("", 0)
        steps.append(Step(int(number), path, what, name, reached_from, reached.endswith("in another process")))
    places = [place for places, _ in _BESIDE.findall(beside) for place in re.findall(r"`([^`]+)`", places)]
    return Way(tuple(steps), tuple(places))


@dataclass(frozen=True)
class Words:
    """What a file's code has of names."""

    defined: frozenset[str]
    used: frozenset[str]
    #: Name to the module that it is imported from, as it is or by way of the module.
    imported: dict[str, str]


@cache
def words(path: str) -> Words:
    """Of a Python file."""
    defined: set[str] = set()
    used: set[str] = set()
    imported: dict[str, str] = {}
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    modules = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in modules:
                used.add(name)
                imported[name] = modules[module]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                used.add(name)
            case ast.ImportFrom(module=str(module), names=names):
                imported |= {alias.name: module for alias in names}
            case ast.Constant(value=str(text)) if text.startswith("/fasttree.v1."):
                used.add(text.rpartition("/")[2])  # a call by its full name
    return Words(frozenset(defined), frozenset(used), imported)


def linked(earlier: str, later: str, name: str) -> bool:
    """Whether the name leads from one file to the other: one defines it and the other uses it, or both import it from
    the same place, as an event that one makes and the other takes."""
    one, other = words(earlier), words(later)
    if (name in one.defined and name in other.used) or (name in other.defined and name in one.used):
        return True
    return name in one.imported and one.imported[name] == other.imported.get(name)
