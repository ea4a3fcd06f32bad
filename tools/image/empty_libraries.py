"""Libraries that nothing in an image calls, and that the loader asks for all the same: empty ones take their places.

pyarrow links each of its modules with every library of Arrow. Those for data sets, query plans and Substrait are used
by modules that an image leaves out; what stays names them in its header alone.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

#: Paths below where packages are installed.
EMPTIED = re.compile(r"pyarrow/libarrow_(acero|dataset|substrait)\.so\.\d+$")


class InUseError(Exception):
    """Something that stays calls a library that is to be empty."""


def empty_libraries(folder: Path) -> None:
    """Empties what matches below a folder.

    Raises:
        InUseError: It is called; so it has to stay as it is.
    """
    libraries = [path for path in sorted(folder.rglob("*.so*")) if not path.is_symlink()]
    emptied = [path for path in libraries if EMPTIED.match(path.relative_to(folder).as_posix())]
    if not emptied:
        return
    kept = [path for path in libraries if path not in emptied]
    there = _symbols(kept, "--defined-only")
    lacking = _symbols(kept, "--undefined-only") - there
    for path in emptied:
        if used := lacking & _symbols([path], "--defined-only"):
            raise InUseError(f"{path.name} is called ({', '.join(sorted(used)[:3])}): take it out of EMPTIED")
    with TemporaryDirectory(prefix="fasttree-empty-") as name:
        nothing = Path(name) / "nothing.o"
        subprocess.run(["as", "-o", nothing, "/dev/null"], check=True)
        for path in emptied:
            command = ["ld", "-shared", "--build-id=none", "-soname", path.name, "-o", str(path), str(nothing)]
            subprocess.run(command, check=True)


def _symbols(libraries: Iterable[Path], which: str) -> set[str]:
    said = subprocess.run(["nm", "--dynamic", which, *libraries], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].split("@")[0] for line in said.splitlines() if len(line.split()) > 1}
