"""How a process of Python is started by one of ours: the one home of that.

`python -m` alone looks for every module in the folder that it is started in first. There, somebody
else's csv.py, or a folder of the name of ours, would run in the place of what is meant.
"""

from __future__ import annotations

import sys


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours. It finds modules where they are installed, and by PYTHONPATH alone."""
    return [sys.executable, "-P", "-m", module, *arguments]
