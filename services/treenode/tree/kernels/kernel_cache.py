"""Where compiled kernels are kept, and when a kept one may be run.

The folder is NUMBA_CACHE_DIR; without it the user's own cache, and where that can't be written (no home, a container
that runs as anybody) none: kernels are compiled in each process then. Within it each state of the sources, of numba,
and of the processor has a folder of its own, so a kernel that was compiled for something else can't be run, and
`complete` in it says something. Kernels are found by their module's name: two checkouts of one version, or an image and
where it is unpacked, share them. A folder that can be read and not written is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import caching

logger = logging.getLogger(__name__)

_config: Any = numba.config
_binding: Any = llvmlite.binding

#: What makes a file count among the sources of kernels. One that only has code that they take over says so.
_MARKS = (b"@kernel", b"@inner", b"@inlined", b"Kernels know")
_ROOT = Path(__file__).parents[4]
_IMPORT = re.compile(rb"^from (services[\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)
_CONSTANT = re.compile(rb"\b_?[A-Z][A-Z0-9_]+\b")


def _sources() -> list[Path]:
    """Every file of this service that kernels are made of, and those that they take constants from."""
    sources = {path: path.read_bytes() for path in (_ROOT / "services" / "treenode").rglob("*.py")}
    kernels = {path for path, source in sources.items() if any(mark in source for mark in _MARKS)}
    constants = {
        _ROOT / f"{module.decode().replace('.', '/')}.py"
        for path in kernels
        for module, names in _IMPORT.findall(sources[path])
        if _CONSTANT.search(names)
    }
    return sorted(kernels | {path for path in constants if path.is_file()})


def _processor() -> str:
    """The processor that kernels are compiled for: the machine's, or what numba is told instead."""
    name = _config.CPU_NAME or _binding.get_host_cpu_name()
    features = _config.CPU_FEATURES
    if features is None:
        features = "" if _config.CPU_NAME == "generic" else _binding.get_host_cpu_features().flatten()
    return f"{name} {features}"


def _kind() -> str:
    """Digest of all that a compiled kernel depends on."""
    digest = hashlib.sha256()
    versions = (numba.__version__, llvmlite.__version__, np.__version__, _processor())
    for text in versions:
        digest.update(text.encode() + b"\0")
    for path in _sources():
        digest.update(str(path.relative_to(_ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def user_cache_folder() -> Path:
    """The cache of whoever runs this, where nobody says another one."""
    home = os.environ.get("XDG_CACHE_HOME")
    # Where there is neither HOME nor an entry of the user, `~` stays, which is no folder of anybody's.
    return Path(home or os.path.expanduser("~/.cache")) / "ha-fasttree" / "numba"


def _usable(folder: Path) -> bool:
    """Whether kernels can be kept there, or are there already."""
    if not folder.is_absolute():
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
    return True


def _chosen_folder() -> Path | None:
    """This kind's own folder; None where nothing can be kept."""
    base = Path(_config.CACHE_DIR).absolute() if _config.CACHE_DIR else user_cache_folder()
    folder = base / _kind()
    return folder if _usable(folder) else None


#: Where this kind's kernels are kept; None: nowhere.
FOLDER = _chosen_folder()
# Numba reads it when it compiles; empty, it would look for folders of its own.
_config.CACHE_DIR = str(FOLDER or "")
_config.CACHE_LOCATOR_CLASSES = f"{__name__}.ByModule"


class ByModule(caching.UserProvidedCacheLocator):
    """Finds a kernel by its module's name, wherever the module's file is."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)  # type: ignore[no-untyped-call]
        self._cache_path = str(Path(_config.CACHE_DIR) / py_func.__module__)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> ByModule:
        """Always one: what can't be written is found out when it is written."""
        return cls(py_func, py_file)

    def get_source_stamp(self) -> str:
        """What is in the file, not when it was written: a clone and an image have other times."""
        return _digest_of(self._py_file)


@functools.cache
def _digest_of(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# Numba names a compiled kernel by counting those that are there: two processes that compile one kernel for different
# types at the same time would write the same file, and one of them later run the other's code.
_process_token = secrets.token_hex(4)
_index_file: Any = caching.IndexDataCacheFile
_cache: Any = caching.Cache
_save = _cache.save_overload


def _own_data_name(self: Any, number: int) -> str:
    return str(self._data_name_pattern.format(number=number)).replace(".nbc", f"-{_process_token}.nbc")


@contextlib.contextmanager
def _index_lock() -> Iterator[None]:
    """A kernel's index is read, added to, and written again: of two processes that do, one would lose the other's."""
    with (Path(_config.CACHE_DIR) / "index").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _saved_where_possible(self: Any, signature: object, data: object) -> None:
    """A kernel that can't be kept (a full disk, a folder of somebody else) runs all the same."""
    try:
        with _index_lock():
            _save(self, signature, data)
    except OSError as error:
        logger.warning("a compiled kernel can't be kept: %s", error)


_index_file._data_name = _own_data_name
_cache.save_overload = _saved_where_possible


def everything_is_cached() -> bool:
    """Whether `warm_up` has compiled every kernel: loading them is all that is left then."""
    return FOLDER is not None and (FOLDER / "complete").exists()
