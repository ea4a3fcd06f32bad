"""Kernels that several processes compile at one time into one cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def run(folder: Path, *dtypes: str) -> list[str]:
    """What a process prints that runs the kernel for these types; last how many it found compiled."""
    search = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *dtypes],
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
        "from services.treenode.tree.kernels.kernel import _config\n"
        "print(_config.CACHE_DIR)\n"
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


def test_a_constant_from_another_file_has_kernels_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[3] / "services", tmp_path / "services")
    program = "from services.treenode.tree.kernels.kernel import _config; print(_config.CACHE_DIR)"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
    }
    limits = tmp_path / "services" / "shared" / "domain" / "limits.py"
    folders = []
    for rank_max in ("32_767", "32_767", "9"):
        limits.write_text(limits.read_text().replace("RANK_MAX: Final = 32_767", f"RANK_MAX: Final = {rank_max}"))
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        folders.append(done.stdout)
    assert folders[0] == folders[1] != folders[2]
