"""Reports the largest files, functions and folders, and fails at those above the bounds: python -m tools.sizes"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FOLDERS = ("services", "client", "bench", "tests", "tools")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
#: Of a folder of services/, `__init__.py` counted. It is read as one idea.
FOLDER_FILES_MAX = 14
_SHOWN = 10


class Size(NamedTuple):
    """How large something is, where it is, and what to do where that is too large."""

    size: int
    bound: int
    unit: str
    place: str
    mend: str

    def __str__(self) -> str:
        return f"{self.place}: {self.size} {self.unit}"


def _python_files(root: Path) -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def files(root: Path) -> Iterator[Size]:
    """Every file, in lines."""
    for name, text in _python_files(root):
        yield Size(len(text.splitlines()), FILE_LINES_MAX, "lines", name, "give one of its ideas a file of its own")


def functions(root: Path) -> Iterator[Size]:
    """Every function with its docstring, in lines."""
    for name, text in _python_files(root):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                place = f"{name}:{node.lineno} {node.name}"
                yield Size(lines, FUNCTION_LINES_MAX, "lines", place, "take a step out of it")


def folders(root: Path) -> Iterator[Size]:
    """Every folder of services/, in files."""
    counts = Counter(Path(name).parent.as_posix() for name, _ in _python_files(root) if name.startswith("services/"))
    for place, count in counts.items():
        yield Size(count, FOLDER_FILES_MAX, "files", place, "find the idea in it that wants a folder of its own")


def main() -> None:
    """Prints the ten largest of each; fails where one is above its bound."""
    too_large = []
    for kind in (files, functions, folders):
        sizes = sorted(kind(ROOT), reverse=True)
        print(f"largest {kind.__name__} (at most {sizes[0].bound} {sizes[0].unit}):")
        print("\n".join(f"  {size}" for size in sizes[:_SHOWN]))
        too_large += [size for size in sizes if size.size > size.bound]
    for size in too_large:
        print(f"{size}, more than {size.bound}: {size.mend}")
    sys.exit(bool(too_large))


if __name__ == "__main__":
    main()
