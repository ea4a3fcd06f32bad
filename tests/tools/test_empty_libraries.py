"""Libraries that nothing calls become empty ones, which the loader takes; one that is called stays."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from tools.image.empty_libraries import InUseError, empty_libraries

_LIBRARY = "libarrow_dataset.so.7"


def _library(path: Path, assembly: str, *beside: str) -> None:
    """Made of a few lines for the assembler."""
    subprocess.run(["as", "-o", f"{path}.o", "-"], input=assembly, text=True, check=True)
    command = ["ld", "-shared", "-rpath", str(path.parent), "-soname", path.name, "-o", str(path), f"{path}.o", *beside]
    subprocess.run(command, check=True, cwd=path.parent)
    Path(f"{path}.o").unlink()


def _packages(folder: Path, *, call: str) -> Path:
    """A module that is linked with the library, and calls this of it."""
    (folder / "pyarrow").mkdir(parents=True)
    large = ".globl scanned\nscanned: ret\n" + ".data\n.fill 100000, 1, 7\n"
    _library(folder / "pyarrow" / _LIBRARY, large)
    _library(folder / "pyarrow" / "lib.so", f".globl answer\nanswer: mov $42, %eax\nret\n{call}", _LIBRARY)
    return folder


def test_what_nothing_calls_is_empty_and_still_loads(tmp_path: Path) -> None:
    sizes = []
    for name in ("one", "two"):
        folder = _packages(tmp_path / name, call="")
        empty_libraries(folder)
        sizes.append((folder / "pyarrow" / _LIBRARY).read_bytes())
        assert ctypes.CDLL(str(folder / "pyarrow" / "lib.so")).answer() == 42
    assert sizes[0] == sizes[1], "the same input makes the same bytes"
    assert len(sizes[0]) < 20_000


def test_what_is_called_is_told_and_stays(tmp_path: Path) -> None:
    folder = _packages(tmp_path, call="call scanned@plt\n")
    before = (folder / "pyarrow" / _LIBRARY).read_bytes()
    with pytest.raises(InUseError, match=r"libarrow_dataset\.so\.7 is called \(scanned\): take it out"):
        empty_libraries(folder)
    assert (folder / "pyarrow" / _LIBRARY).read_bytes() == before
