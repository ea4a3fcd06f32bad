"""Values of other processes are read by forms that were made at import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Where msgspec may be told a type: the form, and settings, which one thread reads at a start.
HOMES = {"services/shared/forms.py", "services/shared/config/load.py"}

#: Three threads read a type that nothing has read before, a few hundred times.
PROGRAM = """
import sys, threading
from typing import Annotated
import msgspec
from services.shared.forms import Form

sys.setswitchinterval(1e-6)
Number = Annotated[int, msgspec.Meta(ge=0)]

def read(form, barrier):
    barrier.wait()
    value = form.of_json(b'{"inner": [{"one": 1, "more": [1, 2]}], "names": {"k": 1}}')
    assert form.of({"inner": [{"one": 1, "more": [1, 2]}], "names": {"k": 1}}) == value

for number in range(400):
    Inner = msgspec.defstruct("Inner", [("one", Number), ("more", list[Number])])
    form = Form(msgspec.defstruct("Outer", [("inner", list[Inner]), ("names", dict[str, Number])]))
    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=read, args=(form, barrier)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("read")
"""


def test_threads_read_their_first_values_at_one_time() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "read\n", "")


@pytest.mark.parametrize("call", [r"msgspec\.convert\(", r"msgspec\.\w+\.decode\(", r"\bDecoder\("])
def test_nobody_else_tells_msgspec_a_type(call: str) -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("services", "client")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(call, path.read_text(encoding="utf-8"))
    }
    assert found <= HOMES
