"""The service for DataTrax as a process."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

from services.shared.python_process import python_command
from tests.datatrax.orders_layout import WITH_IDS
from tests.fakes.pusher import FakePusher
from tests.waiting import until


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


async def test_a_spool_whose_service_is_killed_again_and_again_takes_each_record_once(tmp_path: Path) -> None:
    """Each time somewhere else: in the middle of a file, of its receipts, of its way to `done/`."""
    pusher = FakePusher()
    await pusher.start()
    spool = tmp_path / "FT50201"
    (spool / "layouts").mkdir(parents=True)
    (spool / "layouts/orders.toml").write_text(WITH_IDS)
    for number in range(40):
        records = "".join(f"{number:04}{line:04}{'0000070001250'}\n" for line in range(250))
        (spool / f"orders.{number:02}").write_text(records)
        (spool / f"orders.{number:02}.done").touch()
    killed, taken = 0, 0

    def is_done() -> bool:
        return len(list((spool / "done").glob("orders.??"))) == 40

    def is_far() -> bool:
        return len(pusher.updates) >= taken or is_done()

    settings = (
        f"datatrax.pusher={pusher.address}", "datatrax.instant_port=0", "datatrax.http_port=0",
        f"datatrax.spool_folder={spool}", "datatrax.spool_poll_s=0.01", "datatrax.spool_marker_settle_s=0.01",
    )  # fmt: skip
    while True:
        process = await started(*settings)
        assert process.stderr is not None
        async with asyncio.timeout(120):
            while b"lines at" not in await process.stderr.readline():
                pass
        taken += 1_300
        await until(is_far, "so many updates")
        process.kill()
        await process.communicate()
        killed += 1
        if is_done():
            break
    ids = [update.update_id for update in pusher.updates]
    assert ids == [f"{number:04}{line:04}" for number in range(40) for line in range(250)]
    for number in range(40):
        receipts = (spool / f"done/orders.{number:02}.receipts").read_text().splitlines()
        assert [line[10:12] for line in receipts] == ["00"] * 250
    assert killed > 3
    assert {each.name for each in spool.iterdir()} <= {"done", "refused", "layouts"}
    await pusher.stop()


async def test_a_spool_that_can_not_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = await started(f"datatrax.spool_folder={tmp_path / 'file'}", "datatrax.instant_port=0")
    _, error = await process.communicate()
    assert process.returncode == 1
    assert (
        "is a file where a folder should be" in error.decode().splitlines()[-1] or "Not a directory" in error.decode()
    )
    assert "Traceback" not in error.decode()
