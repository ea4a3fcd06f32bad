"""The kernels are also right as plain Python: what numba makes of them is not what makes them right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_answers_are_the_same_without_the_compiler() -> None:
    tests = [str(HERE / name) for name in ("test_answers.py", "test_ordering.py", "test_members.py", "test_columns.py")]
    chosen = "test_answers and 1-in or test_ordering or every_day or pieces or new_column"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "-k", chosen, *tests],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert " passed" in ended.stdout
