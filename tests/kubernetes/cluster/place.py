"""Where everything of a cluster is: addresses, and files below one folder."""

from __future__ import annotations

import os
from pathlib import Path

from tests.kubernetes.binaries import PROGRAMS, found, home

NODE_NETWORK = "10.89.0"
POD_NETWORK = "10.244"
SERVICES = "10.96.0.0/16"
#: The API's, as a Service: the first of theirs.
API_SERVICE = "10.96.0.1"
#: The control plane's, which is the first node's too.
CONTROL = f"{NODE_NETWORK}.1"
API_URL = f"https://{CONTROL}:6443"
ETCD_URL = "http://127.0.0.1:2379"
NODES_MAX = 9
#: The folder of processes' limits that is ours in each hierarchy.
CGROUP = "fasttree-kubernetes"
#: Where containerd answers, on each node in a mount of its own.
CONTAINERD = "/run/containerd/containerd.sock"
#: Volumes of each node, each for one claim ever: a claim that goes leaves its files.
VOLUMES = 40
#: Volumes of each node, of the class "small", that are soon full; in memory, and gone with the node's power.
SMALL_VOLUMES = 2
#: More than the 256 MiB that a pusher keeps for its log when it takes an import.
SMALL_MIB = 320


def run_folder() -> Path:
    """Of the cluster that runs, or ran last."""
    return home() / "run"


def log_file(name: str) -> Path:
    """What a program says."""
    return run_folder() / "logs" / f"{name}.log"


def kubeconfig(name: str) -> Path:
    """How a part of the cluster reaches the API, and as whom."""
    return run_folder() / "kubeconfigs" / name


def node_folder(number: int) -> Path:
    """All that a node keeps."""
    return run_folder() / f"node{number}"


def small_volume(number: int, volume: int) -> Path:
    """Where one of them is, for who makes it larger."""
    return node_folder(number) / "small" / str(volume)


def first_process() -> int | None:
    """The process that the whole cluster lives by; None: none runs."""
    try:
        number = int((run_folder() / "pid").read_text())
    except (OSError, ValueError):
        return None
    try:
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return None
    # The number may be another's by now.
    return number if b"tests.kubernetes.cluster" in command else None


def environment() -> dict[str, str]:
    """What the cluster's programs are started with: each finds the others."""
    folders = [str(path.parent) for path in found(tuple(PROGRAMS)).values()]
    return os.environ | {
        "PATH": ":".join([*folders, "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
        "KUBECONFIG": str(kubeconfig("admin")),
        "HOME": "/root",
    }
