"""Single records of the pusher's log: many by few calls, and past damage that nobody asked for."""

import grpc
import pytest

from services.shared.serving.errors import UnavailableError
from services.shared.wire.record import RecordDamagedError
from services.treenode.replication.pusher_log import GAP_RECORDS_MAX, PusherLog
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.updates import posted

WAIT_S = 60.0


def filled(pusher: FakePusher, count: int) -> None:
    """Gives the log so many updates."""
    pusher.updates = [posted(f"O-{position}", "A", position) for position in range(1, count + 1)]


async def test_scattered_records_come_by_few_calls() -> None:
    async with fake_pusher() as pusher, PusherLog(pusher.address, WAIT_S) as log:
        filled(pusher, 4 * GAP_RECORDS_MAX)
        near, far = range(1, GAP_RECORDS_MAX, 3), range(3 * GAP_RECORDS_MAX, 4 * GAP_RECORDS_MAX, 7)
        wanted = [*near, *far]
        assert [update.update_id for update in await log.updates_at(wanted)] == [f"O-{position}" for position in wanted]
        assert pusher.log_reads == 2
        assert await log.updates_at([]) == []


async def test_a_damaged_record_stands_in_the_way_of_nobody_who_does_not_ask_for_it() -> None:
    async with fake_pusher() as pusher, PusherLog(pusher.address, WAIT_S) as log:
        filled(pusher, 30)
        pusher.damaged_position = 12
        wanted = [2, 3, 10, 11, 13, 20]
        assert [update.update_id for update in await log.updates_at(wanted)] == [f"O-{position}" for position in wanted]
        for asked in ([2, 12], [12], [11, 12, 13]):
            with pytest.raises((grpc.aio.AioRpcError, RecordDamagedError)):
                await log.updates_at(asked)


async def test_a_log_that_falls_silent_is_not_waited_for() -> None:
    async with fake_pusher() as pusher, PusherLog(pusher.address, 0.5) as log:
        filled(pusher, 3)
        positions: list[int] = []
        with pytest.raises(UnavailableError, match=r"gave nothing for so long \(treenode\.log_silence_s = 0\.5\)"):
            async for records in log.read(1, 0):
                positions += [record.position for record in records]
        assert positions == [1, 2, 3][: len(positions)]
