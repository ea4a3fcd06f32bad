"""What loads kernels and reads import files, looked for before anything of it is imported."""

from __future__ import annotations

import importlib.util

from services.shared.serving.process import StartupError

_PACKAGES = ("llvmlite", "numba", "pyarrow")


def check_packages() -> None:
    """Raises StartupError where they are not installed, as in the image for everything but nodes."""
    missing = [name for name in _PACKAGES if not _is_there(name)]
    if missing:
        raise StartupError(
            f"{' and '.join(missing)} missing, which a tree node loads kernels and reads import files with: run it in "
            "the image fasttree (fasttree-slim is for all but nodes), or pip install ha-fasttree"
        )


def _is_there(name: str) -> bool:
    """A folder without modules, such as an image's for kernels, is no package to find."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
