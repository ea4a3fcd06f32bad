"""A node's memory goes back to the system, whatever was freed before."""

from __future__ import annotations

import json
import subprocess
import sys

#: Frees a large piece, then makes small ones and frees every other one; says how much of what is left it has, before
#: and after it gave memory back.
PROGRAM = """
import json
import numpy as np
from services.treenode.memory import give_memory_back

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

large = np.ones(30_000_000, np.uint8)
del large
before = resident_bytes()
pieces = [np.ones(500_000, np.uint8) for _ in range(200)]
del pieces[::2]
kept = sum(piece.nbytes for piece in pieces)
freed = resident_bytes() - before
give_memory_back()
print(json.dumps((freed / kept, (resident_bytes() - before) / kept)))
"""


def test_what_is_freed_is_the_systems_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
    freed, given_back = json.loads(done.stdout)
    assert freed > 1.8
    assert given_back < 1.2
