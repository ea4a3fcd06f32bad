"""docs/commands.md and docs/commands.json have every command, and are fresh; and what commands print is held to them.

Whatever a test runs by `FastTree` is looked at; here, that the look finds what is wrong, and that nobody is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from fasttree.command.main import GROUPS, cli
from fasttree.command.shapes import printed_by
from tests.command.fasttree_command import FastTree
from tests.command.printed import ShapeError, check_printed
from tools.commands_page import PAGE, SHAPES, leaves, page, schemas_text

#: Commands whose shapes no test of their own looks at, asked of a cluster as it begins.
_RUNS = (
    ("top", "--count", "1", "--every", "0.1"),
    ("trace", "o1"),
    ("doctor",),
    ("node", "list"),
    ("period", "list"),
    ("volume-type", "list"),
    ("log", "verify"),
    ("config", "show"),
    ("config", "check"),
    ("policy", "show"),
    ("completion", "bash"),
)


def test_the_page_and_the_schemas_are_fresh_and_have_every_command() -> None:
    assert SHAPES.read_text(encoding="utf-8") == schemas_text(), "python -m tools.commands_page"
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(), "docs/commands.md is stale: python -m tools.commands_page"
    paths = [path for path, _ in leaves(cli, "fasttree")]
    assert len(paths) > 80
    assert "fasttree import" in paths
    assert [path for path in paths if f"\n### {path}\n" not in text] == []


def test_each_command_is_where_the_help_has_it_and_has_that_name() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert len(set(grouped)) == len(grouped)
    assert [str(cli.commands[name].name) for name in grouped] == grouped
    assert sorted(grouped) == sorted(cli.commands)


def test_a_command_brings_what_it_needs_alone() -> None:
    # Each import that all commands shared would make each of them late.
    program = "import sys; from fasttree.command.main import cli; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    modules = ran.stdout.split()
    assert "fasttree.command.session" in modules
    assert [
        name for name in modules if name in ("numpy", "cryptography", "pyarrow", "services.shared", "asyncpg")
    ] == []


def test_every_command_has_json_and_says_what_it_is() -> None:
    for path, command in leaves(cli, "fasttree"):
        assert any("--json" in option.opts for option in command.params), path
        assert printed_by(command) is not None, f"{path}: put `prints` below its decorator"


def test_the_schemas_are_schemas() -> None:
    content = json.loads(SHAPES.read_text(encoding="utf-8"))
    shapes = [schema for printed in content["commands"].values() for schema in printed.values()]
    jsonschema.Draft202012Validator.check_schema({"anyOf": shapes, "$defs": content["$defs"]})


@pytest.mark.parametrize("arguments", _RUNS, ids=lambda arguments: " ".join(arguments[:2]))
async def test_what_is_printed_has_its_shape(arguments: tuple[str, ...], fasttree: FastTree) -> None:
    ran = await fasttree(*arguments, "--json")
    assert ran.out, ran.err


_PAUSED: dict[str, Any] = {"paused": True}


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        pytest.param(["pause"], {}, id="a name is missing"),
        pytest.param(["pause"], {**_PAUSED, "since": "today"}, id="a name that nobody documented"),
        pytest.param(["pause"], {"paused": "yes"}, id="another type"),
        pytest.param(["--timeout", "5", "pause"], [_PAUSED], id="a list"),
        pytest.param(["held"], _PAUSED, id="another command's"),
    ],
)
def test_what_has_another_shape_is_found(arguments: list[str], printed: Any) -> None:
    with pytest.raises(ShapeError):
        check_printed([*arguments, "--json"], json.dumps(printed, indent=2) + "\n")


def test_what_has_it_is_good() -> None:
    check_printed(["pause", "--json"], json.dumps(_PAUSED, indent=2) + "\n")
    check_printed(["pause"], "elections are paused\n")
    receipt = {"update_id": "o", "position": 1, "duplicate": False, "outcome": "", "code": 0, "message": ""}
    check_printed(["push", "-", "--json"], (json.dumps(receipt) + "\n") * 2)
    with pytest.raises(ShapeError):
        check_printed(["push", "-", "--json"], json.dumps(receipt) + "\n" + json.dumps(_PAUSED) + "\n")
