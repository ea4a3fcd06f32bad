"""What `fasttree up` starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.local.parts import VIP, ClusterPlan


@pytest.mark.parametrize("threads", [1, 3])
def test_the_vip_has_as_many_threads_as_it_is_given(tmp_path: Path, threads: int) -> None:
    folder = ClusterFolder(tmp_path)
    plan = ClusterPlan(folder, host="127.0.0.1", vip_port=1, nodes=["n1"], assignments=(), vip_threads=threads)
    (vip,) = [child for child in plan.children() if child.name == VIP]
    place = vip.command.index("--concurrency")
    assert vip.command[place + 1] == str(threads)
