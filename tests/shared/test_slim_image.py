"""What runs in the image for all but nodes starts where the compiler and Arrow are not installed: there, neither is."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: To Python, what is None there is not installed.
_WITHOUT = """
import importlib, sys
sys.modules.update(dict.fromkeys(("llvmlite", "numba", "pyarrow")))
importlib.import_module({module!r})
"""


@pytest.mark.parametrize("service", ["coordinator", "pusher", "console", "datatrax"])
def test_a_service_needs_neither(service: str) -> None:
    command = [sys.executable, "-c", _WITHOUT.format(module=f"services.{service}.app")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
