"""One target in this process: `python -m tests.fuzz.one TARGET FOLDER [-OPTION=…]`, options as libFuzzer has them.

The folder gets the inputs to begin with, and those that reached code which none before had."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

import atheris

_ROOT = Path(__file__).parents[2]


def _compiled() -> list[str]:
    """Modules of ours that become machine code: what is put between their lines would be compiled with them."""
    found = (path for path in (_ROOT / "services" / "treenode").rglob("*.py") if "kernel" in path.read_text())
    return [".".join(path.relative_to(_ROOT).with_suffix("").parts) for path in found]


def main() -> None:
    """Does not return."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    module = f"tests.fuzz.targets.{name.partition('.')[0]}"
    # What is looked at while it runs: our parsers, and the libraries in Python that they stand on.
    with atheris.instrument_imports(include=["services", "fasttree", "joserfc", "tomllib"], exclude=_compiled()):
        target = next(each for each in importlib.import_module(module).TARGETS if each.name == name)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    logging.disable()
    atheris.Setup([sys.argv[0], *sys.argv[2:], f"-max_len={target.length_max}"], target.run())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
