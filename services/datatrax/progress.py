"""Each node's progress as a file, as DataTrax's people know it: `NODE.PORT`, touched whenever the node took something.

What is in it is for people: the node's state, its position and its import.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from fasttree.client import CallError, Client
from fasttree.v1 import coordinator_pb2
from services.shared.domain.sentences import system_words
from services.shared.files.durable import make_folder, write_durably
from services.shared.files.names import file_name_problem

logger = logging.getLogger(__name__)
#: What a node took while it goes on taking: often enough for people.
_INTERVAL_S = 1.0


class ProgressFiles:
    """Follows the cluster, and writes a node's file where it has changed.

    Raises:
        OSError: The folder can't be made.
    """

    def __init__(self, folder: Path, port: int, client: Client) -> None:
        self._folder, self._port, self._client = folder, port, client
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


def _text(node: coordinator_pb2.ClusterNode) -> str:
    status = node.status
    state = coordinator_pb2.NodeState.Name(status.state).removeprefix("NODE_STATE_").lower().replace("_", " ")
    return f"{node.address.name}: {state}, import {status.import_id}, position {status.position}\n"
