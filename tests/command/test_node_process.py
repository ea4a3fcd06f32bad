"""What a drill kills: the process of a node, proven to be that."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fasttree.client import NodeEndpoint
from fasttree.client.drill.node_process import check_process, kill_process
from fasttree.client.drill.receipt import DrillError

LISTENER = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""


@pytest.fixture
def node() -> Iterator[tuple[subprocess.Popen[str], NodeEndpoint]]:
    """A process that listens where a node would, and what an endpoints file says of it."""
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield process, NodeEndpoint(name="n1", instant=f"127.0.0.1:{port}", pid=process.pid)
        finally:
            process.kill()


def test_the_process_of_a_node_is_killed(node: tuple[subprocess.Popen[str], NodeEndpoint]) -> None:
    process, endpoint = node
    check_process(endpoint)
    assert process.poll() is None
    kill_process(endpoint)
    assert process.wait(30) == -9


def test_another_process_that_has_its_number_is_not_killed(node: tuple[subprocess.Popen[str], NodeEndpoint]) -> None:
    """A file that is older than the cluster: the node is there, under another number."""
    with subprocess.Popen(["sleep", "600"]) as other:
        stale = NodeEndpoint(name="n1", instant=node[1].instant, pid=other.pid)
        for call in (check_process, kill_process):
            with pytest.raises(DrillError, match=f"process {other.pid} does not listen at 127"):
                call(stale)
        assert other.poll() is None
        other.kill()
    assert node[0].poll() is None


def test_one_that_listens_elsewhere_is_another_node(node: tuple[subprocess.Popen[str], NodeEndpoint]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        moved = NodeEndpoint(name="n1", instant=f"127.0.0.1:{ours.getsockname()[1]}", pid=node[0].pid)
        with pytest.raises(DrillError, match="does not listen at"):
            kill_process(moved)
    assert node[0].poll() is None


@pytest.mark.parametrize("pid", [0, -1, 1 << 40, 1])
def test_a_number_that_is_no_process_of_ours_kills_nothing(pid: int) -> None:
    """0 would be every process of our group, -1 every process there is."""
    with pytest.raises(DrillError, match=r"there is no process|does not listen at"):
        kill_process(NodeEndpoint(name="n1", instant="127.0.0.1:1", pid=pid))
