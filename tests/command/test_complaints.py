"""A start that comes to no end says why, where one part waits for what another one has told in its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.local.parts import ClusterPlan
from fasttree.command.local.starting import waiting
from fasttree.command.local.starting.complaints import complaints
from fasttree.command.local.supervisor import Supervisor
from fasttree.command.session import CommandError

AT = "2026-11-28 17:43:34,296"
NO_TABLES = "the log can't be read: schema fasttree has no tables of version 1: have the administrator make them"


def test_the_last_word_of_each_part_is_told_once() -> None:
    logs = {
        "coordinator-2": f"{AT} INFO coordinator a.b: listens\n{AT} WARNING coordinator a.b: permission denied\n",
        "pusher": f"{AT} ERROR pusher a.b: can't reach it\n{AT} ERROR pusher c.d: {NO_TABLES}\n  a further line\n",
        "pusher-2": f"{AT} ERROR pusher c.d: {NO_TABLES}\n{AT} WARNING pusher a.b: coordinator h:1: UNAVAILABLE\n",
        "n1": f"{AT} ERROR treenode a.b: nobody answers\n",
    }
    assert complaints(logs) == f"; coordinator-2: permission denied; pusher: {NO_TABLES}"
    assert complaints(dict.fromkeys(logs, "")) == ""
    many = {f"pusher-{number}": f"{AT} ERROR pusher a.b: {number}{'x' * 999}\n" for number in range(9)}
    assert len(complaints(many)) < 1_000


async def test_a_part_that_starts_is_told_as_one_that_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may only be slow."""
    monkeypatch.setattr(waiting, "_TELL_S", 0.1)
    home, said = ClusterFolder(tmp_path), list[str]()
    plan = ClusterPlan(home, host="127.0.0.1", vip_port=1, nodes=["n1"], assignments=())
    supervisor = Supervisor(lambda: None, said.append, restart=True)
    words = r"waits for coordinator at 127\.0\.0\.1:\d+ to answer; logs: "
    with pytest.raises(CommandError, match=rf"^not ready after 0\.5 s: {words}"):
        await waiting.wait_until_ready(home, plan, supervisor, said.append, 0.5)
    assert said
    assert said[0].startswith("waits for coordinator at 127.0.0.1:")
