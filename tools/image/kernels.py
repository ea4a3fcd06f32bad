"""The compiled kernels of an image, made by its own Python in its own root, for the processors that the image names."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.image.contents import Layer
from tools.image.project import ENVIRONMENT, HOME, KERNELS, USER
from tools.image.sandbox import run_in


class KernelsError(Exception):
    """Why there are none, and the mend."""


def unpack(layers: Sequence[Layer], folder: Path) -> None:
    """Layers as a container engine would lay them out."""
    folder.mkdir(parents=True)
    # Whoever the mask of this machine's user keeps out: another one works in there.
    folder.chmod(0o755)
    for layer in layers:
        subprocess.run(["tar", "--extract", "--file", str(layer.path), "--directory", str(folder)], check=True)


def compiled(layers: Sequence[Layer], cache: Path, tell: Callable[[str], None]) -> Path:
    """The folder of this code's kernels: compiled where they are not kept yet, which takes minutes.

    Each state of the code, of the packages and of the named processor has its own, under the name that the code itself
    gives it (`services/treenode/tree/kernels/kernel_cache.py`).

    Raises:
        KernelsError: Not root, or the compiling failed.
    """
    if os.geteuid() != 0:
        raise KernelsError("kernels are compiled in the image's own root, by chroot: run it as root (sudo make image)")
    kept = cache / "kernels"
    kept.mkdir(parents=True, exist_ok=True)
    os.chown(kept, USER, USER)
    with tempfile.TemporaryDirectory(prefix="fasttree-image-") as name:
        root = Path(name) / "root"
        unpack(layers, root)
        scratch = Path(name) / "tmp"
        scratch.mkdir()
        scratch.chmod(0o1777)
        binds = {"/tmp": scratch, f"/{KERNELS}": kept}

        def python(*arguments: str) -> str:
            ran = run_in(root, ["/usr/bin/python3.11", "-P", *arguments], ENVIRONMENT, user=USER, binds=binds)
            if ran.returncode:
                raise KernelsError(f"the image's Python failed ({' '.join(arguments)}): its words are above")
            return ran.stdout.strip()

        folder = python("-c", "from services.treenode.tree.kernels.kernel_cache import FOLDER; print(FOLDER)")
        mine = kept / Path(folder).name
        if not (mine / "complete").exists():
            tell(f"kernels: compiling for {ENVIRONMENT['NUMBA_CPU_NAME']} into {mine}, once for this code")
            # What a run that was ended has left counts as nothing: an image has what one whole run made.
            shutil.rmtree(mine, ignore_errors=True)
            python("-m", "services.treenode.kernels.warm_up")
        if not (mine / "complete").exists():
            raise KernelsError(f"not every kernel could be compiled into {mine}")
    assert folder.startswith(f"/{HOME}/")
    return mine
