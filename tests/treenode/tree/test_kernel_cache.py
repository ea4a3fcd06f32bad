"""Kernels that several processes compile at one time into one cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_MODULE = """
from services.treenode.tree.kernels.kernel import AnyArray, kernel

@kernel
def doubled(values: AnyArray) -> object:
    return values[0] + values[0]
"""
_RUN = """
import sys
import numpy as np
import numbers_of_a_test as module
for name in sys.argv[1:]:
    print(module.doubled(np.array([3], dtype=name)))
print(sum(module.doubled.stats.cache_hits.values()))
"""


#: Root without its power to write where nobody may.
_POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


def run(folder: Path, *dtypes: str, by: tuple[str, ...] = ()) -> list[str]:
    """What a process prints that runs the kernel for these types; last how many it found compiled."""
    search = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        [*by, sys.executable, "-c", _RUN, *dtypes],
        env=os.environ | {"PYTHONPATH": search, "NUMBA_CACHE_DIR": str(folder / "cache"), "NUMBA_DISABLE_JIT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_two_processes_that_compile_at_one_time_leave_two_kernels(tmp_path: Path) -> None:
    """The second one's view of the cache is older than what the first one wrote: as if both had begun together."""
    (tmp_path / "numbers_of_a_test.py").write_text(_MODULE)
    assert run(tmp_path, "int64") == ["6", "0"]
    (index,) = (tmp_path / "cache").rglob("*.nbi")
    first_index = index.read_bytes()
    index.unlink()
    assert run(tmp_path, "float64") == ["6.0", "0"]
    index.write_bytes(first_index)
    assert len(list((tmp_path / "cache").rglob("*.nbc"))) == 2
    assert run(tmp_path, "int64") == ["6", "1"]


def test_a_module_with_a_kernel_keeps_it_with_the_others_whatever_is_imported_first(tmp_path: Path) -> None:
    program = (
        "from services.treenode.snapshots.background_write import _write_in_child\n"
        "from services.treenode.tree.kernels.kernel_cache import FOLDER\n"
        "print(FOLDER)\n"
        "print(_write_in_child._cache.cache_path)\n"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NUMBA_CACHE_DIR": str(tmp_path),
        "NUMBA_DISABLE_JIT": "0",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    folder, kept = map(Path, done.stdout.split())
    assert folder.parent == tmp_path
    assert folder in kept.parents


def kept_folder(folder: Path, **environment: str) -> str:
    """Where a process would keep its kernels, from the sources in a folder."""
    program = "from services.treenode.tree.kernels.kernel_cache import FOLDER; print(FOLDER)"
    search = os.pathsep.join([str(folder), *sys.path])
    base = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=base | {"PYTHONPATH": search} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the services."""
    shutil.copytree(Path(__file__).parents[3] / "services", tmp_path / "services")
    return tmp_path


def test_a_constant_from_another_file_has_kernels_of_its_own(sources: Path, tmp_path: Path) -> None:
    limits = sources / "services" / "shared" / "domain" / "limits.py"
    folders = []
    for rank_max in ("32_767", "32_767", "9"):
        limits.write_text(limits.read_text().replace("RANK_MAX: Final = 32_767", f"RANK_MAX: Final = {rank_max}"))
        folders.append(kept_folder(sources, NUMBA_CACHE_DIR=str(tmp_path / "cache")))
    assert folders[0] == folders[1] != folders[2]


def test_checkouts_of_one_version_share_kernels_and_processors_do_not(sources: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    here = kept_folder(Path(__file__).parents[3], NUMBA_CACHE_DIR=cache)
    assert kept_folder(sources, NUMBA_CACHE_DIR=cache) == here
    assert kept_folder(sources, NUMBA_CACHE_DIR=cache, NUMBA_CPU_NAME="generic") != here


def test_the_users_own_cache_is_taken_where_none_is_named(sources: Path, tmp_path: Path) -> None:
    assert kept_folder(sources, HOME=str(tmp_path)).startswith(str(tmp_path / ".cache" / "ha-fasttree" / "numba"))
    elsewhere = kept_folder(sources, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "mine"))
    assert elsewhere.startswith(str(tmp_path / "mine" / "ha-fasttree" / "numba"))


def test_a_kernel_runs_where_none_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "numbers_of_a_test.py").write_text(_MODULE)
    (tmp_path / "cache").write_text("no folder")
    assert run(tmp_path, "int64") == ["6", "0"]


def test_kept_kernels_are_read_where_no_more_can_be_written(tmp_path: Path) -> None:
    """As in an image that was built by another user."""
    (tmp_path / "numbers_of_a_test.py").write_text(_MODULE)
    assert run(tmp_path, "int64") == ["6", "0"]
    for path in (*(tmp_path / "cache").rglob("*"), tmp_path / "cache"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted((tmp_path / "cache").rglob("*"))
    assert run(tmp_path, "int64", by=_POWERLESS) == ["6", "1"]
    assert run(tmp_path, "int64", "float64", by=_POWERLESS) == ["6", "6.0", "1"]
    assert sorted((tmp_path / "cache").rglob("*")) == before


#: As in a container whose user is a number: no HOME, and no entry that says one.
_NOBODYS = """
import os, pwd
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
import numpy as np
from services.treenode.tree.kernels.kernel_cache import FOLDER
import numbers_of_a_test as module
print(FOLDER, module.doubled(np.array([3])))
"""


def test_a_user_without_a_home_compiles_for_itself_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "numbers_of_a_test.py").write_text(_MODULE)
    gone = ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    search = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-B", "-c", _NOBODYS],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": search, "NUMBA_DISABLE_JIT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["None", "6"]
    assert [path.name for path in tmp_path.iterdir()] == ["numbers_of_a_test.py"]
