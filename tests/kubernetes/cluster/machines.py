"""The nodes beyond the first as machines: they have a cable and a power switch. Used inside of the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.kubernetes.cluster import place
from tests.kubernetes.cluster.processes import call, start, succeeds, wait_for


def start_node(number: int, nodes: int, images: list[Path]) -> subprocess.Popen[bytes]:
    """A node in a network of its own, with a cable to the bridge. One that was ended comes back with its disk."""
    process = start(f"node{number}", [
        "unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child",
        sys.executable, "-P", "-m", "tests.kubernetes.cluster", "node", str(number), str(nodes), *map(str, images),
    ])  # fmt: skip
    (place.run_folder() / f"node{number}.pid").write_text(str(process.pid))
    own = os.readlink("/proc/self/ns/net")
    wait_for(
        f"node{number} has a network",
        lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own,
        {f"node{number}": process},
    )
    call("ip", "link", "add", _cable(number), "type", "veth", "peer", "name", "node0", "netns", str(process.pid))
    call("ip", "link", "set", _cable(number), "master", "node0", "up")
    call("ip", "route", "replace", f"{place.POD_NETWORK}.{number}.0/24", "via", f"{place.NODE_NETWORK}.{number}")
    return process


def end_node(number: int) -> None:
    """The power is gone: every program of a node and every process of its pods ends at once."""
    # Its first process dies with its parent, and all others with that.
    os.kill(process_of(number), signal.SIGKILL)
    is_there = succeeds("ip", "link", "show", _cable(number))
    wait_for(f"node{number}'s cable is gone", lambda: not is_there())


def cut_cable(number: int) -> None:
    """A node reaches nobody, and nobody reaches it; what runs on it runs on."""
    call("ip", "link", "set", _cable(number), "down")


def mend_cable(number: int) -> None:
    """As it was before."""
    call("ip", "link", "set", _cable(number), "up")


def on_node(number: int, *command: str) -> list[str]:
    """The command line that runs a command on a node, in its network and with its mounts."""
    if number == 1:
        return list(command)
    outer = process_of(number)
    inner = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0]
    return ["nsenter", "--target", inner, "--mount", "--net", "--pid", "--", *command]


def process_of(number: int) -> int:
    """The parent of a node's first process."""
    return int((place.run_folder() / f"node{number}.pid").read_text())


def _cable(number: int) -> str:
    return f"cable{number}"
