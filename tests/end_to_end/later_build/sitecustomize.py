"""A later build, for each process that is named in the file LATER_BUILD at its start. The product knows nothing of it.

That build knows the next version of the rules, in which a removal that leaves its volume open means that it leaves.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

CHANGED = "services.shared.rules.rules"


class LaterFinder:
    """Finds the module as everybody does, and changes it once it is loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """As the finders of Python's own import system do."""
        if name != CHANGED or not _is_later():
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_change(module: ModuleType) -> None:
                load(module)
                _change(module)

            spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def _is_later() -> bool:
    names = Path(os.environ["LATER_BUILD"]).read_text().split()
    command = Path("/proc/self/cmdline").read_text().split("\0")
    return any(
        f"treenode.name={name}" in command or (name == "pusher" and "services.pusher" in command) for name in names
    )


def _change(module: ModuleType) -> None:
    from fasttree.v1 import types_pb2

    before = module.Rules.volume_of_removed.fget
    module.RULE_VERSION += 1  # type: ignore[attr-defined]
    version = module.RULE_VERSION

    def volume_of_removed(rules: Any) -> Any:
        return types_pb2.REMOVAL_VOLUME_LEAVES if rules.version >= version else before(rules)

    module.Rules.volume_of_removed = property(volume_of_removed)


sys.meta_path.insert(0, LaterFinder)
