"""The Python packages of an image: what the project depends on, at the versions that `requirements/run.txt` pins."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.image.contents import key_of
from tools.image.empty_libraries import EMPTIED, empty_libraries
from tools.image.python_files import compile_to_bytecode

#: Where Debian's Python looks for packages that are not Debian's.
INSTALLED_IN = "usr/local/lib/python3.11/dist-packages"
#: What only tree nodes import, and the checks of import files, which are the nodes' own reader.
NODE_ONLY = {"llvmlite", "numba", "pyarrow"}
#: What none of our programs imports, opens or links: tests, sources, headers, and parts for clouds and graphics cards.
UNUSED = re.compile(
    r"(.*/)?tests(/|$)"
    r"|.*\.(pyi|pyx|pxd|pxi|h|hpp|c|cc|cpp|a)$"
    r"|bin(/|$)"
    r"|numba/cuda(/|$)"
    # Kernels run in threads of our own, not of Numba's.
    r"|numba/np/ufunc/(tbb|omp)pool\.cpython.*"
    r"|numpy/(f2py|_pyinstaller|distutils)(/|$)"
    r"|numpy/_core/_(simd|\w+_tests)\.cpython.*"
    r"|pyarrow/(include|src)(/|$)"
    r"|pyarrow/lib\w*(flight|s3)\w*\.so.*"
    r"|pyarrow/_\w*(acero|dataset|dataset_parquet|flight|substrait|s3fs|gcsfs|azurefs|hdfs|orc|encryption|json|feather|tests)"
    r"\.cpython.*"
    r"|pyarrow/libarrow_python_parquet_encryption\.so.*"
    # What makes bindings from C's declarations, where a package is built; those that are built need its library alone.
    r"|(cffi|pycparser)(/|$)"
    r"|multidict/_testcapi\.cpython.*"
    # Copies under names that nothing links.
    r"|pyarrow/lib\w+\.so(\.\d+\.\d+\.\d+)?$"
)
#: Whose libraries carry tables of symbols for a debugger. Those in folders `*.libs` had their segments moved once, and
#: would not be laid out right again.
_STRIPPED = (
    "aiohttp", "cryptography", "frozenlist", "google", "llvmlite", "msgspec", "multidict", "numba", "numpy", "obstore",
    "propcache", "pyarrow", "uvloop",
)  # fmt: skip


#: Released as source alone, all of it Python.
_FROM_SOURCE = "nkeys"


class PackagesError(Exception):
    """Why the packages can't be had, and the mend."""


class Package(NamedTuple):
    """One that is installed."""

    name: str
    version: str
    license: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


#: Optional ones that an image has all the same: which store a cluster uses is a setting, not another image.
_EXTRAS = ("jetstream", "objects", "postgres")


#: What the metadata of these packages say in words of their own, as SPDX has it.
_LICENSES = {
    "aiohappyeyeballs": "PSF-2.0",
    "aiosignal": "Apache-2.0",
    "frozenlist": "Apache-2.0",
    "joserfc": "BSD-3-Clause",
    "numba": "BSD-2-Clause",
    "obstore": "MIT",
    "nkeys": "Apache-2.0",
    "propcache": "Apache-2.0",
    "pynacl": "Apache-2.0",
    "protobuf": "BSD-3-Clause",
    "tzdata": "Apache-2.0",
    "uvloop": "MIT OR Apache-2.0",
    "yarl": "Apache-2.0",
}


def pins_of(pins: Path) -> dict[str, str]:
    """Every pinned package by its name, as pip takes it: with the version, and the hashes of its files."""
    text = pins.read_text(encoding="utf-8").replace("\\\n", "")
    return {line.partition("==")[0]: " ".join(line.split()) for line in text.splitlines() if "==" in line}


def pinned_versions(pins: Path) -> dict[str, str]:
    """Every pinned package's version."""
    return {name: pin.split()[0].partition("==")[2] for name, pin in pins_of(pins).items()}


def needed(pyproject: Path, pins: Path) -> list[Package]:
    """What the project depends on, by itself and through others, and the extras that images have; nothing of its build.

    Raises:
        PackagesError: Something is not pinned, or is there in another version than the pinned one.
    """
    pinned = pinned_versions(pins)
    found: dict[str, Package] = {}
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    named = [*project["dependencies"], *(text for extra in _EXTRAS for text in extras.get(extra, ()))]
    waiting = [Requirement(text) for text in named]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        there = distribution(name)
        if pinned.get(name) != there.version:
            raise PackagesError(
                f"{name} {there.version} is installed, and {pinned.get(name)} is pinned: run make setup-run"
            )
        found[name] = Package(
            name, there.version, str(there.metadata.json.get("license_expression") or _LICENSES.get(name, ""))
        )
        asked = ("", *wanted.extras)
        waiting += [
            further
            for further in map(Requirement, there.requires or [])
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in asked)
        ]
    return [found[name] for name in sorted(found)]


def installed(packages: Sequence[Package], pins: Path, cache: Path, tell: Callable[[str], None]) -> Path:
    """A folder with these packages as an image has them: pruned, stripped and compiled to bytecode. No file is taken
    whose hash is not among the pins."""
    rules = (UNUSED.pattern, *_STRIPPED, EMPTIED.pattern)
    kept = cache / f"packages-{key_of((*map(str, packages), *rules, sys.version.split()[0]))}"
    if kept.exists():
        return kept
    tell(f"packages: installing {', '.join(map(str, packages))}")
    unfinished = kept.with_name(f".{kept.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    known = pins_of(pins)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write("".join(f"{known[package.name]}\n" for package in packages))
        wanted.flush()
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:",
            "--no-binary", _FROM_SOURCE, "--no-build-isolation", "--require-hashes",
            "--target", str(unfinished), "--requirement", wanted.name,
        ]  # fmt: skip
        if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode:
            raise PackagesError("pip could not install the packages: its words are above")
    finish(unfinished)
    unfinished.rename(kept)
    return kept


def finish(folder: Path) -> None:
    """Makes of packages that pip has installed what an image has: the same files, whenever and wherever it was."""
    _prune(folder)
    _strip(folder)
    empty_libraries(folder)
    compile_to_bytecode(folder, f"/{INSTALLED_IN}")


def _prune(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        inside = path.relative_to(folder).as_posix()
        # How and from where pip installed it differs from machine to machine.
        if UNUSED.match(inside) or path.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.exists() or path.is_symlink():
                path.unlink()


def _strip(folder: Path) -> None:
    libraries = [path for name in _STRIPPED for path in sorted((folder / name).rglob("*.so*")) if not path.is_symlink()]
    if libraries:
        subprocess.run(["strip", "--strip-unneeded", *map(str, libraries)], check=True)
