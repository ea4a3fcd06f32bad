"""What runs in the image for all but nodes starts where the compiler and Arrow are not installed: there, neither is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.shared.mapping.canonical import KnownColumns, MappingError, rewrite
from services.shared.mapping.profile import Profile

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


def test_a_parquet_file_that_may_hold_what_is_personal_is_refused_there_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").write_bytes(b"PAR1" + bytes(20))
    monkeypatch.setitem(sys.modules, "services.shared.mapping.parquet", None)
    known = KnownColumns(personal=("name",), vault=str(tmp_path / "vault"))
    with pytest.raises(MappingError, match=r"pyarrow is missing .*send it as CSV"):
        rewrite(tmp_path / "own", tmp_path / "written", Profile(), known)
    assert not (tmp_path / "written").exists()
