"""Makes docs/commands.md: every command, its options, its exit codes, the shape of its JSON.

    python -m tools.commands_page

Commands and options are the command line's own. The shapes of JSON are made of the types that commands print by
(`client/fasttree/command/shapes.py`), and written to docs/commands.json as JSON schemas as well: the tests hold to them
whatever a command prints (`tests/command/fasttree_command.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fasttree.command.main import EXIT_FAILED, EXIT_INTERRUPTED, GROUPS, cli
from fasttree.command.screen.rounds import EXIT_TERMINATED
from fasttree.command.session import EXIT_WAITS
from fasttree.command.shapes import printed_by
from tools.json_shapes import Schemas

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "commands.md"
SHAPES = ROOT / "docs" / "commands.json"

_HEAD = f"""\
# Commands

Every command of `fasttree` with its options. This page is made from the code by `tools/commands_page.py`; a test keeps
it fresh. What they are for is in [operations.md](operations.md) and the pages that it names.

## Exit codes

| code | what it means |
|---|---|
| 0 | done; of what is shown live, ended by q, or by `--count` with nothing wrong at the last look |
| {EXIT_FAILED} | not done, or something that the command looks for is wrong: a line on standard error says what |
| {click.UsageError.exit_code} | wrong use: an option or a value that the command does not take; nothing was done |
| {EXIT_WAITS} | not yet, and nothing is wrong: ask again (`fasttree erase --status`) |
| {EXIT_INTERRUPTED} | ended by Ctrl-C; `fasttree up` ends with 0 |
| {EXIT_TERMINATED} | what is shown live was ended by SIGTERM or SIGHUP; the terminal is as it was |

## JSON

With `--json` a command prints one document on standard output; what goes on (`status --watch`, `top`, `follow`, `push`)
prints one a line. Errors are lines on standard error all the same. Names are only added within a major version.

Each command below says what it prints; [Shapes](#shapes) at the end says what is in it. There `?` stands behind a name
that may be missing, `nothing` is null, `[X]` a list of X, and `{{name: X}}` an object whose names are data. The same
stands in [commands.json](commands.json) as JSON Schema, for programs: under `commands`, each with `document`, or `line`
where it prints one a line. Every test that runs a command holds what it prints to it.
"""


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its path. A group's hidden one is what the group does without a name."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    if command.invoke_without_command:
        yield path, command
    for name, each in sorted(command.commands.items()):
        yield from leaves(each, path if each.hidden else f"{path} {name}")


def schemas() -> dict[str, Any]:
    """docs/commands.json: what each command prints, as JSON Schema."""
    found, commands = Schemas(), {}
    for path, command in leaves(cli, "fasttree"):
        if (printed := printed_by(command)) is not None:
            parts = {"document": printed.documents, "line": printed.lines}
            commands[path] = {
                name: _any_of([found.of(each) for each in kinds]) for name, kinds in parts.items() if kinds
            }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "commands": commands,
        "$defs": dict(sorted(found.defined.items())),
    }


def _any_of(shapes: list[Any]) -> Any:
    return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}


def schemas_text() -> str:
    """As its file has it."""
    return json.dumps(schemas(), indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """The page's text."""
    content = schemas()
    shared = "".join(f"| {_names([option])} | {_cell(option.help or '')} |\n" for option in _shared_options())
    text = f"{_HEAD}\n## Options of many commands\n\n| option | what |\n|---|---|\n{shared}"
    for group, names in GROUPS.items():
        text += f"\n## {group}\n"
        for name in sorted(names):
            for path, command in leaves(cli.commands[name], f"fasttree {name}"):
                text += _section(path, command, content["commands"].get(path, {}))
    text += "\n## Shapes\n"
    for name, schema in content["$defs"].items():
        text += f"\n### {name}\n\n{schema['description']}\n\n```\n{_shape(schema, inner=False)}\n```\n"
    return text


def _section(path: str, command: click.Command, printed: dict[str, Any]) -> str:
    arguments = "".join(f" {each.make_metavar(click.Context(command))}" for each in command.params if _is_shown(each))
    text = f"\n### {path}\n\n`{path}{arguments}`: {_first_sentence(command)}\n"
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if shared := [option for option in options if _is_shared(option)]:
        text += f"\nTakes {_names(shared)}.\n"
    if options := [option for option in options if not _is_shared(option)]:
        text += "\n| option | what |\n|---|---|\n"
        for option in options:
            text += f"| {_names([option])} | {_cell(option.help or '')} |\n"
    ways = {"document": "", "line": ", one a line"}
    if told := [f"{_linked(schema)}{ways[way]}" for way, schema in printed.items()]:
        text += f"\nJSON: {'; or '.join(told)}.\n"
    return text


_WORDS = {"string": "text", "integer": "number", "number": "number", "boolean": "truth", "null": "nothing"}


def _linked(schema: dict[str, Any]) -> str:
    """In words, with where more of it stands."""
    match schema:
        case {"$ref": name}:
            named = str(name).rpartition("/")[2]
            return f"[{named}](#{named.lower()})"
        case {"anyOf": several}:
            return " or ".join(_linked(each) for each in several)
        case {"type": "array", "items": item}:
            return f"a list of {_linked(item)}"
        case {"type": "object", "additionalProperties": value} if "properties" not in schema:
            return f"{_linked(value)} by name"
    return _shape(schema)


def _shape(schema: dict[str, Any], *, inner: bool = True) -> str:
    """In a line; a type's own fields a line each."""
    match schema:
        case {"$ref": name}:
            return str(name).rpartition("/")[2]
        case {"anyOf": several}:
            return " | ".join(_shape(each) for each in several)
        case {"enum": values}:
            return " | ".join(json.dumps(value) for value in values)
        case {"type": list(several)}:
            return " | ".join(dict.fromkeys(_WORDS[each] for each in several))
        case {"type": "array", "items": item}:
            return f"[{_shape(item)}]"
        case {"type": "object", "properties": fields}:
            marks = {name: "" if name in schema["required"] else "?" for name in fields}
            lines = [f'"{name}"{marks[name]}: {_shape(field)}' for name, field in fields.items()]
            return "{" + ", ".join(lines) + "}" if inner else "\n".join(lines)
        case {"type": "object", "additionalProperties": value}:
            return f"{{name: {_shape(value)}}}"
        case {"type": word}:
            return _WORDS[word]
    return "anything"


def _is_shared(option: click.Option) -> bool:
    """One that every asking command has, with the same help: the page tells it once."""
    return any(each.opts == option.opts and each.help == option.help for each in _shared_options())


def _shared_options() -> list[click.Option]:
    return [each for each in cli.params if isinstance(each, click.Option) and each.name != "version"]


def _names(options: list[click.Option]) -> str:
    return ", ".join(f"`{name}`" for option in options for name in (*option.opts, *option.secondary_opts))


def _is_shown(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument) and parameter.metavar != ""


def _first_sentence(command: click.Command) -> str:
    paragraph = (command.help or "").partition("\n\n")[0].replace("\b", "")
    return " ".join(paragraph.split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    SHAPES.write_text(schemas_text(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
