"""Makes docs/commands.md: every command, its options, its exit codes, the shape of its JSON.

    python -m tools.commands_page

Commands and options are the command line's own. The shapes are of what the commands printed to a test
(`tests/command/test_commands_page.py`), which holds `docs/commands.json` to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from fasttree.command.main import EXIT_FAILED, EXIT_INTERRUPTED, cli
from fasttree.command.screen.rounds import EXIT_TERMINATED

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
| {EXIT_INTERRUPTED} | ended by Ctrl-C; `fasttree up` ends with 0 |
| {EXIT_TERMINATED} | what is shown live was ended by SIGTERM or SIGHUP; the terminal is as it was |

## JSON

With `--json` a command prints one document on standard output; what goes on (`status --watch`, `top`, `follow`, `push`)
prints one a line. Errors are lines on standard error all the same. Names are only added within a major version. Where a
shape stands below: "text", "number", "truth", "nothing" (null), and a list by what is in it. A test holds these to what
the commands print; the others have none here yet.
"""


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its path."""
    if command.hidden:
        return
    if isinstance(command, click.Group):
        for name, each in sorted(command.commands.items()):
            yield from leaves(each, f"{path} {name}")
    else:
        yield path, command


def page() -> str:
    """The page's text."""
    shapes = json.loads(SHAPES.read_text(encoding="utf-8"))
    shared = "".join(f"| {_names([option])} | {_cell(option.help or '')} |\n" for option in _shared_options())
    head = f"{_HEAD}\n## Options of many commands\n\n| option | what |\n|---|---|\n{shared}"
    return head + "".join(_section(path, command, shapes.get(path)) for path, command in leaves(cli, "fasttree"))


def _section(path: str, command: click.Command, shape: Any) -> str:
    arguments = "".join(f" {each.make_metavar(click.Context(command))}" for each in command.params if _is_shown(each))
    text = f"\n## {path}\n\n`{path}{arguments}`: {_first_sentence(command)}\n"
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if shared := [option for option in options if _is_shared(option)]:
        text += f"\nTakes {_names(shared)}.\n"
    if options := [option for option in options if not _is_shared(option)]:
        text += "\n| option | what |\n|---|---|\n"
        for option in options:
            text += f"| {_names([option])} | {_cell(option.help or '')} |\n"
    if shape is not None:
        text += f"\n```json\n{json.dumps(shape, ensure_ascii=False)}\n```\n"
    return text


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
    PAGE.write_text(page(), encoding="utf-8")
