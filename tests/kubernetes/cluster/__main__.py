"""python -m tests.kubernetes.cluster: see the package."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.kubernetes.binaries import PROGRAMS, BuildError, ensure
from tests.kubernetes.cluster import place
from tests.kubernetes.cluster.control import run_control
from tests.kubernetes.cluster.node import run_node
from tests.kubernetes.cluster.pause import pause_image
from tests.kubernetes.cluster.processes import reap_for_ever

_START_S = 600.0
#: Processes that were killed are gone by then.
_GONE_S = 10.0


class ClusterError(Exception):
    """Why it can't be done, and the mend."""


def start(nodes: int, images: list[Path]) -> None:
    """Starts a cluster; returns when every node is ready."""
    if place.first_process():
        raise ClusterError("a cluster runs already: python -m tests.kubernetes.cluster stop")
    if os.geteuid() != 0:
        raise ClusterError("a cluster needs root: mounts, networks and limits of its own")
    ensure(tuple(PROGRAMS), lambda line: print(line, file=sys.stderr, flush=True))
    folder = place.run_folder()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    all_images = [pause_image(folder / "pause.tar"), *(image.absolute() for image in images)]
    with (folder / "start.log").open("wb") as log:
        outer = subprocess.Popen(
            [
                "unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child",
                sys.executable, "-P", "-m", "tests.kubernetes.cluster", "control", str(nodes), *map(str, all_images),
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline_s = time.monotonic() + _START_S
    while not (folder / "up").exists():
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        with contextlib.suppress(OSError):
            (folder / "pid").write_text(children.read_text().strip())
        if outer.poll() is not None or time.monotonic() > deadline_s:
            said = (folder / "start.log").read_text()
            stop()
            raise ClusterError(f"the cluster did not come up:\n{said}")
        time.sleep(0.1)
    print((folder / "start.log").read_text(), file=sys.stderr)


def stop() -> None:
    """Ends the cluster and all that is in it. What its programs said stays until the next one; nothing else does."""
    number = place.first_process()
    if number:
        os.kill(number, signal.SIGKILL)
        while place.first_process():
            time.sleep(0.05)
        _remove_limits()
    with contextlib.suppress(FileNotFoundError):
        for path in place.run_folder().iterdir():
            if path.is_dir() and path.name != "logs":
                shutil.rmtree(path, ignore_errors=True)


def _remove_limits() -> None:
    """The folders of the cluster's limits: each goes once its processes are gone, from the innermost on."""
    deadline_s = time.monotonic() + _GONE_S
    while (left := list(Path("/sys/fs/cgroup").glob(f"*/{place.CGROUP}"))) and time.monotonic() < deadline_s:
        for folder in left:
            for inner in (*sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True), folder):
                with contextlib.suppress(OSError):
                    inner.rmdir()
        time.sleep(0.05)


def command_inside(command: list[str]) -> list[str]:
    """The command line that runs a command inside the cluster's namespaces, in this folder.

    Raises:
        ClusterError: None runs.
    """
    number = place.first_process()
    if not number:
        raise ClusterError("no cluster runs: python -m tests.kubernetes.cluster start")
    settings = [f"{name}={place.environment()[name]}" for name in ("PATH", "KUBECONFIG")]
    path = f"{settings[0]}:{os.environ['PATH']}"
    inside = ["nsenter", "--target", str(number), "--mount", "--net", "--pid", "--uts", "--"]
    return [*inside, "env", "--chdir", os.getcwd(), path, settings[1], *command]


def run_until_asked(command: list[str]) -> int:
    """Its exit code. SIGTERM ends it as well, be it only just being started."""
    asked: list[int] = []
    begun: list[subprocess.Popen[bytes]] = []

    def end(number: int, _: object) -> None:
        asked.append(128 + number)
        for process in begun:
            process.kill()

    signal.signal(signal.SIGTERM, end)
    with subprocess.Popen(command) as process:
        begun.append(process)
        if asked:
            process.kill()
        code = process.wait()
    return asked[0] if asked else code


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("start", help="starts one")
    commands.add_parser("stop", help="ends it")
    run = commands.add_parser("exec", help="runs a command inside")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    whole = commands.add_parser(
        "run", help="starts one, runs a command inside, and ends it: run [OPTION...] -- COMMAND"
    )
    for parsed in (begin, whole):
        parsed.add_argument("--nodes", type=int, default=2, choices=range(1, place.NODES_MAX + 1))
        parsed.add_argument("--image", type=Path, action="append", default=[], help="an archive that every node gets")
    whole.add_argument("arguments", nargs="+")
    for name in ("control", "node"):
        inner = commands.add_parser(name, help="what `start` runs, inside")
        inner.add_argument("numbers", type=int, nargs=1 if name == "control" else 2)
        inner.add_argument("images", type=Path, nargs="*")
    given = parser.parse_args()
    try:
        match given.command:
            case "start":
                start(given.nodes, given.image)
            case "stop":
                stop()
            case "exec":
                command = command_inside(given.arguments)
                os.execvp(command[0], command)
            case "run":
                # Asked to end, it ends the command and the cluster as well.
                signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
                try:
                    start(given.nodes, given.image)
                    return run_until_asked(command_inside(given.arguments))
                finally:
                    stop()
            case "control":
                run_control(given.numbers[0], given.images)
            case "node":
                run_node(given.numbers[0], given.numbers[1], given.images)
                reap_for_ever()
    except (ClusterError, BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
