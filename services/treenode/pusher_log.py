"""Reads the pusher's log: for updates after an import file's position, and for single ones of before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc.aio

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, treenode_pb2, types_pb2
from services.shared.channels import open_channel
from services.shared.records import RecordDamagedError
from services.treenode.applying import decode_records


class PusherLog:
    """The log of the pusher at one address; a context manager."""

    def __init__(self, address: str) -> None:
        self._channel: grpc.aio.Channel = open_channel(address)
        self._stub = pusher_pb2_grpc.PusherServiceStub(self._channel)

    async def __aenter__(self) -> PusherLog:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def read(self, first_position: int, last_position: int) -> AsyncIterator[Sequence[treenode_pb2.LogRecord]]:
        """Batches of records from `first_position` to `last_position`, both included, in order."""
        request = pusher_pb2.ReadLogRequest(first_position=first_position, last_position=last_position)
        async for response in self._stub.ReadLog(request):
            yield response.records

    async def updates_at(self, positions: Sequence[int]) -> list[types_pb2.Update]:
        """The updates at these positions, which rise.

        Raises:
            RecordDamagedError: One is damaged, or another one came.
        """
        updates: list[types_pb2.Update] = []
        for first, last in _runs(positions):
            async for records in self.read(first, last):
                found, decoded, damage = decode_records(records)
                if damage is not None:
                    raise damage
                if found != list(positions[len(updates) : len(updates) + len(found)]):
                    raise RecordDamagedError(f"asked for records {first} to {last}, others came")
                updates += decoded
        if len(updates) != len(positions):
            raise RecordDamagedError(f"asked for {len(positions)} records, {len(updates)} came")
        return updates


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """The positions as (first, last) of each run without gaps."""
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and position == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((position, position))
    return runs
