"""docs/commands.md has every command, and is fresh; and what commands print as JSON is of the shape that it says.

`REWRITE=1` writes both anew from the code and from what the commands print.
"""

from __future__ import annotations

import json
import os
from typing import Any

from fasttree.command.main import cli
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster
from tools.commands_page import PAGE, SHAPES, leaves, page

#: What is run for a shape; a command that prints several lines is run so that it prints one.
_RUNS = {
    "fasttree status": ["status"],
    "fasttree top": ["top", "--count", "1", "--every", "0.1"],
    "fasttree trace": ["trace", "o1"],
    "fasttree doctor": ["doctor"],
    "fasttree bundle": ["bundle"],
    "fasttree verify": ["verify"],
    "fasttree switchover": ["switchover"],
    "fasttree node list": ["node", "list"],
    "fasttree period list": ["period", "list"],
    "fasttree import list": ["import", "list"],
    "fasttree log verify": ["log", "verify"],
    "fasttree member": ["member", "m1"],
    "fasttree upline": ["upline", "m2"],
    "fasttree frontline": ["frontline", "m0"],
    "fasttree largest": ["largest"],
    "fasttree held": ["held"],
    "fasttree rejected": ["rejected"],
    "fasttree config check": ["config", "check"],
}


def shape_of(value: Any) -> Any:
    """What is in it, without what it says."""
    match value:
        case dict():
            return {key: shape_of(inner) for key, inner in value.items()}
        case list():
            return _merged([shape_of(inner) for inner in value])
        case bool():
            return "truth"
        case int() | float():
            return "number"
        case None:
            return "nothing"
        case _:
            return "text"


def _merged(shapes: list[Any]) -> list[Any]:
    return [shape for at, shape in enumerate(shapes) if shape not in shapes[:at]]


async def test_what_commands_print_is_of_the_shape_that_the_page_has(cluster: FakeCluster, fasttree: FastTree) -> None:
    found = {}
    for path, arguments in _RUNS.items():
        ran = (
            await fasttree(*arguments, "--json", "--timeout", "5")
            if path != "fasttree config check"
            else (await fasttree(*arguments, "--json"))
        )
        assert ran.out, f"{path}: {ran.err}"
        found[path] = shape_of(json.loads(ran.out))
    # What a machine has no fault of is as it may be elsewhere.
    found["fasttree doctor"]["findings"] = [
        {"check": "text", "text": "text", "mend": "text", "alert": "text", "fault": "truth"}
    ]
    if os.environ.get("REWRITE"):
        SHAPES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(page(), encoding="utf-8")
    assert found == json.loads(SHAPES.read_text(encoding="utf-8")), "REWRITE=1 writes it anew"


def test_the_page_is_fresh_and_has_every_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(), "docs/commands.md is stale: python -m tools.commands_page"
    paths = [path for path, _ in leaves(cli, "fasttree")]
    assert len(paths) > 60
    assert [path for path in paths if f"\n## {path}\n" not in text] == []
