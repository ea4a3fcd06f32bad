"""What a drill says of itself."""

from __future__ import annotations

import socket
import time

from fasttree.client.drill.load import Load, Reads
from tests.fakes.reports import FakeReports
from tests.waiting import until


async def test_a_drill_that_was_held_up_itself_says_so() -> None:
    fake = FakeReports()
    await fake.start()
    try:
        async with Reads(fake.address, "m1", Load(100.0, 1.0)) as reads:
            await until(lambda: len(reads.good) > 3, "some reads")
            assert reads.own_fault == "" or reads.late_s_max >= 0.5
            time.sleep(0.8)  # noqa: ASYNC251
            held = len(reads.good)
            await until(lambda: len(reads.good) > held + 3, "further reads")
            assert reads.late_s_max >= 0.5
            assert reads.own_fault.startswith("; the drill itself came ")
            assert not reads.failures
    finally:
        await fake.stop()


async def test_a_read_that_nobody_answers_has_failed_after_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with Reads(address, "m1", Load(100.0, 1.0, read_timeout_s=0.05)) as reads:
            await until(lambda: bool(reads.failures), "a read that failed")
    assert [said.partition(":")[0] for said in reads.failures] == ["DEADLINE_EXCEEDED"]
    assert reads.good == []
