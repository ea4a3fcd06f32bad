"""Reads the pusher's log: for updates after an import file's position, and for single ones of before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
import grpc.aio

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, treenode_pb2, types_pb2
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import UnavailableError
from services.shared.wire.record import RecordDamagedError
from services.treenode.replication.applying import decode_records

#: So many records that nobody asked for are read to save a call.
GAP_RECORDS_MAX = 500


class PusherLog:
    """The log of the pusher at one address; a context manager."""

    def __init__(self, address: str, silence_s: float, log_id: str = "") -> None:
        """`silence_s`: one that gives nothing for so long is not waited for. `log_id`: the log that is meant; the
        pusher refuses to give records of another. Empty: whichever it has."""
        self._silence_s, self._log_id = silence_s, log_id
        self._channel: grpc.aio.Channel = open_channel(address)
        self._stub = pusher_pb2_grpc.PusherServiceStub(self._channel)

    async def __aenter__(self) -> PusherLog:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def read(self, first_position: int, last_position: int) -> AsyncIterator[Sequence[treenode_pb2.LogRecord]]:
        """Batches of records from `first_position` to `last_position`, both included, in order. Raises
        UnavailableError where the log falls silent; what is done with a batch may take as long as it likes."""
        request = pusher_pb2.ReadLogRequest(
            first_position=first_position, last_position=last_position, log_id=self._log_id
        )
        call = self._stub.ReadLog(request)
        try:
            while True:
                try:
                    async with asyncio.timeout(self._silence_s):
                        response = await call.read()
                except TimeoutError:
                    setting = f"treenode.log_silence_s = {self._silence_s:g}"
                    raise UnavailableError(f"the pusher's log gave nothing for so long ({setting})") from None
                if not isinstance(response, pusher_pb2.ReadLogResponse):  # the end
                    return
                yield response.records
        finally:
            call.cancel()

    async def updates_at(self, positions: Sequence[int]) -> list[types_pb2.Update]:
        """The updates at these positions, which rise.

        Raises:
            RecordDamagedError: One is damaged, or another one came.
        """
        updates: list[types_pb2.Update] = []
        for span in _spans(positions):
            try:
                updates += await self._updates_among(span)
            except grpc.aio.AioRpcError as error:
                runs = _runs(span)
                if error.code() is not grpc.StatusCode.DATA_LOSS or len(runs) == 1:
                    raise
                # A damaged record that nobody asked for must not stand in the way of the others.
                for first, last in runs:
                    updates += await self._updates_among(range(first, last + 1))
        return updates

    async def _updates_among(self, positions: Sequence[int]) -> list[types_pb2.Update]:
        """The updates at these positions, by one call that reads what lies between them too."""
        wanted, updates, found = set(positions), list[types_pb2.Update](), list[int]()
        async for records in self.read(positions[0], positions[-1]):
            here, decoded, damage = decode_records([record for record in records if record.position in wanted])
            if damage is not None:
                raise damage
            found += here
            updates += decoded
        if found != list(positions):
            raise RecordDamagedError(
                f"asked for {len(positions)} records from {positions[0]} to {positions[-1]}, others came"
            )
        return updates


def _spans(positions: Sequence[int]) -> list[list[int]]:
    """The positions, cut where one is far behind the one before: a call costs as much as reading many records."""
    spans: list[list[int]] = []
    for position in positions:
        if spans and position - spans[-1][-1] <= GAP_RECORDS_MAX:
            spans[-1].append(position)
        else:
            spans.append([position])
    return spans


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """The positions as (first, last) of each run without gaps."""
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and position == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((position, position))
    return runs
