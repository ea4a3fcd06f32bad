"""Python's files in an image: compiled beforehand, since nobody may write there later."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def compile_to_bytecode(folder: Path, installed_as: str) -> None:
    """Compiles all modules below a folder.

    They are taken as they are, whatever time the source has (`unchecked-hash`). One process and no random order of
    sets: the same source gives the same bytes.
    """
    command = [
        sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash",
        "-s", str(folder), "-p", installed_as, str(folder),
    ]  # fmt: skip
    # A file that is no Python (a template, say) stays as it is.
    subprocess.run(command, check=False, env=os.environ | {"PYTHONHASHSEED": "0"}, stdout=subprocess.DEVNULL)
