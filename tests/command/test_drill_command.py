"""What a drill gives to a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fasttree.command.cluster.drill import for_node


@pytest.mark.parametrize(
    "name",
    ["n1", "$(touch${IFS}made)", "`touch made`", "n1;touch made", "n1&touch made", "'n1'|touch made", '"', "{node}"],
)
def test_a_nodes_name_is_one_word_and_no_command(name: str, tmp_path: Path) -> None:
    ran = subprocess.run(for_node("printf %s {node}", name), shell=True, capture_output=True, cwd=tmp_path, check=True)
    assert ran.stdout.decode() == name
    assert list(tmp_path.iterdir()) == []
