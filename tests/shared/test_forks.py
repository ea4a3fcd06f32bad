"""A forked child collects no garbage: what that would wait for is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FORKS = """
import gc, os, subprocess, sys
{imports}
class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        if os.getpid() != PARENT:
            os._exit(9)

PARENT = os.getpid()
gc.set_threshold(1)
Garbage()
child = os.fork()
if child == 0:
    [[] for _ in range(10_000)]
    os._exit(3 if gc.isenabled() else 4)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
enabled = gc.isenabled()
gc.disable()
if os.fork() == 0:
    os._exit(0)
print(code, enabled, gc.isenabled())
"""


@pytest.mark.parametrize("imports", ["import services.shared", "import fasttree.command.main"])
def test_a_forked_child_collects_nothing_and_its_parent_goes_on_as_before(imports: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _FORKS.format(imports=imports)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "4 True False\n"
