"""What a hostile file may cost, and the kernels as plain Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.treenode.imports.reading.corpus import bad_files

_MEASURE = """
import resource, sys
from pathlib import Path
from services.treenode.imports.reading import ImportRefusedError, read_import

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

read_import(Path(sys.argv[1]))
before = peak_mb()
try:
    read_import(Path(sys.argv[2]))
except ImportRefusedError as refused:
    print(peak_mb() - before)
"""
_BOMBS = ("bomb of one line", "bomb of line ends", "bomb of rows", "Parquet bomb of one long text", "endless line")


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small file of each kind, so that what compiles and loads is there before memory is measured."""
    from bench.engine.genealogy import make_genealogy, write_genealogy

    folder = tmp_path_factory.mktemp("good")
    paths = {suffix: folder / f"good{suffix}" for suffix in (".csv", ".csv.gz", ".parquet")}
    for path in paths.values():
        write_genealogy(make_genealogy(300, placement=True, further=True), path)
    return paths


def _run(code: str, *arguments: object, **environment: str) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", _BOMBS)
def test_a_bomb_costs_little_memory(name: str, tmp_path: Path, good_files: dict[str, Path]) -> None:
    bomb = next(bad for bad in bad_files() if bad.name == name)
    grown_mb = int(_run(_MEASURE, good_files[bomb.suffix], bomb.write(tmp_path)))
    assert grown_mb < 400


_PLAIN = """
import sys
from pathlib import Path
from services.treenode.imports.reading import ImportRefusedError, read_import
from tests.treenode.imports.reading.corpus import bad_files

folder = Path(sys.argv[1])
for bad in bad_files():
    if len(bad.content) > 5_000:
        continue
    try:
        read_import(bad.write(folder), limits=bad.limits)
    except ImportRefusedError as refused:
        rows = [(row.line, row.column) for row in refused.refusal.rejected_rows]
        assert rows[: len(bad.told)] == [(told.line, told.column) for told in bad.told], bad.name
        assert refused.refusal.rejected_count == bad.count, bad.name
    else:
        raise AssertionError(bad.name)
for path in sys.argv[2:]:
    assert len(read_import(Path(path))) == 300
"""


def test_kernels_as_plain_python(tmp_path: Path, good_files: dict[str, Path]) -> None:
    _run(_PLAIN, tmp_path, *good_files.values(), NUMBA_DISABLE_JIT="1")
