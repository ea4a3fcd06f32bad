"""A node where what it needs is not installed, as in the image for everything but nodes, says so in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: To Python, what is None there is not installed.
_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({names!r}))
from services.treenode.__main__ import main
sys.argv = ["treenode"]
main()
"""


@pytest.mark.parametrize("names", [("llvmlite", "numba", "pyarrow"), ("pyarrow",)], ids="-".join)
def test_it_names_the_image(names: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", _WITHOUT.format(names=names)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"error: treenode: {' and '.join(names)} missing, ")
    assert "the image fasttree (fasttree-slim is for all but nodes)" in line
