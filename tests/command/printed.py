"""What a command prints as JSON, held to the schema of docs/commands.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import click
import jsonschema

from fasttree.command.main import cli
from tools.commands_page import SHAPES


class ShapeError(AssertionError):
    """What was printed is not of the shape that is documented."""


def check_printed(arguments: Sequence[str], out: str) -> None:
    """Raises ShapeError. What is no JSON because nobody asked for it, and what ended before a word, is good."""
    if "--json" not in arguments or "--help" in arguments or not out.strip():
        return
    path = _path(arguments)
    for value, form in _documents(out):
        validator = _validator(path, form)
        if validator is None:
            raise ShapeError(f"docs/commands.json has no {form} of `{path}`")
        faults = sorted(validator.iter_errors(value), key=lambda fault: list(fault.path), reverse=True)
        if faults:
            where = "/".join(map(str, faults[0].path)) or "the whole"
            raise ShapeError(f"`{path}` --json, {where}: {faults[0].message[:500]}")


def _path(arguments: Sequence[str]) -> str:
    path, command = "fasttree", cast("click.Command", cli)
    for word in arguments:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
            path += "" if command.hidden else f" {word}"
    return path


def _documents(out: str) -> list[tuple[Any, str]]:
    """Each with "document", or "line" where it is one of several; of one on one line nobody knows which it is."""
    try:
        return [(json.loads(out), "document or line" if out.count("\n") == 1 else "document")]
    except json.JSONDecodeError:
        return [(json.loads(line), "line") for line in out.splitlines()]


@cache
def _validator(path: str, form: str) -> Any:
    """None: there is no such shape."""
    content = json.loads(SHAPES.read_text(encoding="utf-8"))
    printed = content["commands"].get(path, {})
    shapes = [schema for name, schema in printed.items() if name in form.split(" or ")]
    if not shapes:
        return None
    return jsonschema.Draft202012Validator({"anyOf": shapes, "$defs": content["$defs"]})
