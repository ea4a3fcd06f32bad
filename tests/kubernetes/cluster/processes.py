"""Programs of a cluster: started with a log each, waited for, and said to be ready."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tests.kubernetes.cluster.place import environment, log_file

_READY_S = 180.0
#: Of a program that ended.
_LAST_LINES = 10
_begun_s = time.monotonic()


def say(line: str) -> None:
    """How far the start is, with the seconds since it began."""
    print(f"{time.monotonic() - _begun_s:6.1f} {line}", file=sys.stderr, flush=True)


def call(*command: str) -> None:
    """Runs a program to its end.

    Raises:
        CalledProcessError: It failed; its words are in the log.
    """
    subprocess.run(command, check=True, env=environment(), stdin=subprocess.DEVNULL)


def start(name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a program that runs as long as the cluster does."""
    log_file(name).parent.mkdir(parents=True, exist_ok=True)
    with log_file(name).open("wb") as log:
        return subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def succeeds(*command: str) -> Callable[[], bool]:
    """Whether a program ends well, as a condition to wait for."""

    def tried() -> bool:
        ran = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return ran.returncode == 0

    return tried


def wait_for(
    what: str, condition: Callable[[], bool], needed: Mapping[str, subprocess.Popen[bytes]] = MappingProxyType({})
) -> None:
    """Returns once it holds.

    Args:
        needed: The programs that it can't come without, by the names of their logs.

    Raises:
        ChildProcessError: One of those ended; with its last words.
        TimeoutError: It does not hold in time.
    """
    deadline_s = time.monotonic() + _READY_S
    while not condition():
        for name, process in needed.items():
            if process.poll() is not None:
                last = "\n".join(log_file(name).read_text(errors="replace").splitlines()[-_LAST_LINES:])
                raise ChildProcessError(f"{what}: {name} ended with {process.returncode}:\n{last}")
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not after {_READY_S:g} s; what its programs said is in {log_file('*')}")
        time.sleep(0.1)
    say(what)


def reap_for_ever() -> None:
    """What the first process of a namespace owes to the others: who ends without a parent is taken off the list."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(1)
