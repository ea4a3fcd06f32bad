"""Defects, for every process whose PYTHONPATH begins with this folder. The product knows nothing of it.

The engine fails at each update whose id begins with "poison": before it has changed anything, or, with "poison-midway",
after. With "poison-held" it fails once the update is no longer held; with "poison-at-NAME/", only the node of that name
does. "deadly" ends the process. At "differ-at-NAME/" that node counts a rank too much, and nothing fails.

While the file that FASTTREE_HOLD_LOOP names is there, each node's event loop is held up for 0.8 s of every second.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class PlantingFinder:
    """Finds the engine's module as everybody does, and plants the defect once it is loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """As the finders of Python's own import system do."""
        if name not in PLANTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_plant(module: ModuleType) -> None:
                load(module)
                PLANTS[name](module)

            spec.loader.exec_module = load_and_plant  # type: ignore[method-assign]
        return spec


def _plant_in_engine(module: ModuleType) -> None:
    attempt = module.attempt

    def broken(tree: Any, update: Any) -> Any:
        update_id = update.update_id
        if update_id.startswith("differ-at-") and _is_meant(update_id, "differ-at-"):
            update.member_changed.rank += 1
        if update_id.startswith("deadly"):
            os._exit(9)
        if update_id.startswith("poison") and _is_meant(update_id):
            if update_id.startswith(("poison-midway", "poison-held")):
                refusal = attempt(tree, update)
                if refusal is not None:
                    return refusal
            raise ZeroDivisionError("planted")
        return attempt(tree, update)

    module.attempt = broken  # type: ignore[attr-defined]


def _is_meant(update_id: str, prefix: str = "poison-at-") -> bool:
    if not update_id.startswith(prefix):
        return True
    name = update_id.removeprefix(prefix).partition("/")[0]
    return any(argument.endswith(f"treenode.name={name}") for argument in sys.argv)


def _plant_in_heartbeat(module: ModuleType) -> None:
    import asyncio
    import time

    run = module.Heartbeat.run

    def hold(loop: asyncio.AbstractEventLoop) -> None:
        if os.path.exists(os.environ.get("FASTTREE_HOLD_LOOP", "")):
            time.sleep(0.8)
        loop.call_later(0.2, hold, loop)

    async def held(self: Any) -> None:
        hold(asyncio.get_running_loop())
        await run(self)

    module.Heartbeat.run = held


PLANTS: dict[str, Callable[[ModuleType], None]] = {
    "services.treenode.tree.changes": _plant_in_engine,
    "services.treenode.heartbeat": _plant_in_heartbeat,
}

sys.meta_path.insert(0, PlantingFinder)
