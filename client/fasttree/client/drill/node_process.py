"""The process of a node on this machine, by the endpoints file: proven to be that node before anything is done to it.

A file that is older than the cluster names processes that are gone, and whose numbers others have by now.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

from fasttree.client.drill.receipt import DrillError
from fasttree.client.endpoints import NodeEndpoint

_LISTENS = "0A"
_ANEW = "the endpoints file is not of this cluster any more: `fasttree up` writes it anew; or give --kill-command"


def check_process(node: NodeEndpoint) -> None:
    """Raises DrillError where the process that the file names is not this node's."""
    with _proven(node):
        pass


def kill_process(node: NodeEndpoint) -> None:
    """Kills a node's process. Raises DrillError, and then nothing was killed."""
    with _proven(node) as process:
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        except OSError as error:
            raise DrillError(f"process {node.pid} of {node.name} can't be killed: {error.strerror}") from error


@contextlib.contextmanager
def _proven(node: NodeEndpoint) -> Iterator[int]:
    """A descriptor of the process, which stays that process's own when its number is given to another."""
    try:
        process = os.pidfd_open(node.pid)
    except (OSError, OverflowError):
        raise DrillError(f"there is no process {node.pid} of {node.name}: {_ANEW}") from None
    try:
        if not _listens(node.pid, node.instant):
            raise DrillError(
                f"process {node.pid} does not listen at {node.instant}: {node.name} has only just started, or "
                f"it is another process, and {_ANEW}"
            )
        yield process
    finally:
        os.close(process)


def _listens(pid: int, address: str) -> bool:
    """Whether a process of ours listens at a port of this machine."""
    place = Path(f"/proc/{pid}")
    try:
        held = {_target(path) for path in (place / "fd").iterdir()}
        lines = [line for name in ("tcp", "tcp6") for line in _lines(place / "net" / name)]
    except OSError:
        return False
    port = f":{int(address.rpartition(':')[2]):04X}"
    sockets = [line.split() for line in lines]
    return any(words[1].endswith(port) and words[3] == _LISTENS and f"socket:[{words[9]}]" in held for words in sockets)


def _target(path: Path) -> str:
    with contextlib.suppress(OSError):  # closed meanwhile
        return os.readlink(path)
    return ""


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):  # a machine without IPv6
        return path.read_text().splitlines()[1:]
    return []


def for_node(command: str, node: str) -> str:
    """The command for a shell, which sees one word in the node's name, whatever that is: nodes name themselves."""
    return command.replace("{node}", shlex.quote(node))
