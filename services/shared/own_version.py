"""The version of the package that a process runs."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version


@functools.cache
def own_version() -> str:
    """Of the package that is installed; `unknown` where none is, as where services run from a folder of sources."""
    try:
        return version("ha-fasttree")
    except PackageNotFoundError:
        return "unknown"
