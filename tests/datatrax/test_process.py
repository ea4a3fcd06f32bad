"""The service for DataTrax as a process."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

from services.shared.python_process import python_command
from tests.fakes.pusher import FakePusher


async def started(*settings: str) -> asyncio.subprocess.Process:
    command = python_command("services.datatrax", *(word for setting in settings for word in ("--set", setting)))
    return await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)


async def test_it_serves_and_ends_with_0_on_term() -> None:
    pusher = FakePusher()
    await pusher.start()
    process = await started(
        f"datatrax.pusher={pusher.address}", "datatrax.instant_port=0", "datatrax.http_port=0"
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(120):
        said = (await process.stderr.readline()).decode()
        found = re.search(r"lines at 127\.0\.0\.1:([0-9]+), HTTP ([0-9]+)", said)
        assert found, said
        reader, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
        writer.write(b'{"update_id": "o-1", "volume_posted": {"member_id": "7", "amount": 1}}\n')
        assert json.loads(await reader.readline())["position"] == 1
        page, asking = await asyncio.open_connection("127.0.0.1", int(found[2]))
        asking.write(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        figures = (await page.read()).decode()
        assert "fasttree_datatrax_receipts_total 1.0" in figures
        assert "fasttree_datatrax_programs 1.0" in figures
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert await reader.read() == b""
    for each in (writer, asking):
        each.close()
    await pusher.stop()


async def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path) -> None:
    for setting, expected in (
        ("datatrax.pusher=", "must name the pusher"),
        (f"datatrax.instant_layout={tmp_path / 'absent'}", "No such file"),
        ("datatrax.ack=twice", "durable, one or all"),
    ):
        process = await started(setting, "datatrax.instant_port=0", "datatrax.http_port=0")
        _, error = await process.communicate()
        lines = error.decode().splitlines()
        assert process.returncode == 1
        assert expected in lines[-1]
        assert "Traceback" not in error.decode()
