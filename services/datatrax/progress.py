"""Each node's progress as a file, as DataTrax's people know it: `NODE.PORT`, touched whenever the node took something.

What is in it is for people: the node's state, its position and its import. The file of a node that the cluster does not
know any more goes once it is old enough; those of 2016, which are empty, count as such. Nothing else is removed.
"""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from pathlib import Path

from fasttree.client import CallError, Client
from fasttree.v1 import coordinator_pb2
from services.shared.domain.addresses import is_node_name
from services.shared.domain.sentences import system_words
from services.shared.files.durable import make_folder, remove_durably, write_durably
from services.shared.files.names import file_name_problem

logger = logging.getLogger(__name__)
#: What a node took while it goes on taking: often enough for people.
_INTERVAL_S = 1.0
#: What the host file is called before its port.
_HOSTS = "hosts"


class ProgressFiles:
    """Follows the cluster, and writes a node's file where it has changed.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(self, folder: Path, port: int, client: Client, kept_s: float) -> None:
        """`kept_s`: how long the file of a node stays that is not in the cluster any more."""
        self._folder, self._port, self._client, self._kept_s = folder, port, client, kept_s
        self._written: dict[str, str] = {}
        self._said = ""
        make_folder(folder)

    async def run(self) -> None:
        """For as long as the process runs."""
        while True:
            try:
                cluster = await self._client.get_cluster()
                await asyncio.to_thread(self._write, cluster)
                self._said = ""
            except (CallError, OSError) as error:
                line = f"the files of progress in {self._folder} wait: {system_words(error)}"
                if line != self._said:
                    self._said = line
                    logger.warning("%s", line)
            await asyncio.sleep(_INTERVAL_S)

    def _write(self, cluster: coordinator_pb2.Cluster) -> None:
        alive = {f"{node.address.name}.{self._port}": _text(node) for node in cluster.nodes if node.alive}
        for name, text in alive.items():
            if text != self._written.get(name) and not file_name_problem(name):
                write_durably(self._folder / name, text.encode())
        self._written = alive
        known = {f"{node.address.name}.{self._port}" for node in cluster.nodes}
        if known:  # a coordinator that has just started knows nobody yet
            self._clean(known)

    def _clean(self, known: set[str]) -> None:
        old = [path for path in self._folder.glob(f"*.{self._port}") if path.name not in known and self._is_old(path)]
        remove_durably(*old)
        for path in old:
            logger.info("%s is removed: its node is not in the cluster any more", path)

    def _is_old(self, path: Path) -> bool:
        """Whether it is a node's file that nobody has touched for long."""
        node = path.name.removesuffix(f".{self._port}")
        if node == _HOSTS or not is_node_name(node):
            return False
        try:
            found = path.stat(follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode) or time.time() - found.st_mtime < self._kept_s:
                return False
            return found.st_size == 0 or path.read_text(errors="replace").startswith(f"{node}: ")
        except OSError:
            return False


def _text(node: coordinator_pb2.ClusterNode) -> str:
    status = node.status
    state = coordinator_pb2.NodeState.Name(status.state).removeprefix("NODE_STATE_").lower().replace("_", " ")
    return f"{node.address.name}: {state}, import {status.import_id}, position {status.position}\n"
