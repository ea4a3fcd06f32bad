"""What is stored, for a node that looks for a base: each snapshot is asked for as a peer is."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.files.chunks import CHUNK_BYTES, make_chunk
from services.shared.objects.objects import ObjectDamagedError, ObjectMissingError
from services.treenode.snapshots.stored.objects import StoredKey, StoredSnapshot, StoredSnapshots

#: So many of the newest are tried in one round.
_TRIED_MAX = 8


class StoredSource:
    """One place, for one search at a time.

    Args:
        stored: The place.
        silence_s: How long a part may take to come, in seconds.
    """

    def __init__(self, stored: StoredSnapshots, silence_s: float) -> None:
        self._stored, self.silence_s = stored, silence_s
        self.place = stored.objects.place
        self._log_id = ""
        #: What was found, by the name that people know it by, in the search under way.
        self._found: dict[str, StoredKey] = {}
        self._described: dict[str, StoredSnapshot] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._found

    async def find(self, log_id: str) -> list[str]:
        """The names of the log's snapshots, newest first. Raises StoreAwayError."""
        self._log_id = log_id
        self._described.clear()
        self._found = {self._stored.full_name(each): each for each in (await self._stored.whole(log_id))[:_TRIED_MAX]}
        return list(self._found)

    async def manifest(self, name: str) -> treenode_pb2.SnapshotManifest:
        """What its writer said of it. Raises StoreAwayError, ObjectDamagedError."""
        try:
            found = self._described[name] = await self._stored.described(self._found[name], self._log_id)
        except ObjectMissingError as error:
            raise ObjectDamagedError(f"{name} was removed just now") from error
        about = found.about
        return treenode_pb2.SnapshotManifest(
            log_id=about.log_id,
            import_id=about.import_id,
            position=about.position,
            size_bytes=found.whole.size_bytes,
            sha256=bytes.fromhex(about.sha256),
        )

    async def chunks(self, name: str, offset: int) -> AsyncGenerator[types_pb2.Chunk, None]:
        """Its file from an offset on, each part found good before. Raises StoreAwayError, ObjectDamagedError."""
        async for data in self._stored.read(self._found[name], self._described[name], offset):
            for begin in range(0, len(data), CHUNK_BYTES):
                chunk = make_chunk(offset, data[begin : begin + CHUNK_BYTES])
                yield chunk
                offset += len(chunk.data)
