"""The list of cores in .importlinter is complete: whatever has the cores' door is held to their imports."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What a core has, beside `deadline_s` where time matters to it.
DOOR = {"handle", "validate"}


def has_the_door(path: Path) -> bool:
    """Whether a class of the file is a core."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.ClassDef)
        and not any("Protocol" in ast.unparse(base) for base in node.bases)
        and {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)} >= DOOR
        for node in ast.walk(tree)
    )


#: What no core may import: it is told what happens, and the time.
NOT_FOR_CORES = {"asyncio", "grpc", "random", "threading", "time"}


def test_every_core_is_held_to_the_imports_of_cores() -> None:
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    listed = {
        core
        for contract in rules.values()
        if set(contract.get("forbidden_modules", "").split()) >= NOT_FOR_CORES
        for core in contract["source_modules"].split()
    }
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "services").rglob("*.py")
        if has_the_door(path)
    }
    assert len(found) >= 8
    assert found - listed == set(), "list these in a contract for cores in .importlinter, such as `contract:cores`"
