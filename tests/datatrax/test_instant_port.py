"""The local instant port: lines over TCP to a real service, with a pusher behind it that is a stand-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.datatrax.app import DataTrax
from services.datatrax.settings import DataTraxSettings
from services.shared.config.load import SettingsError
from services.shared.config.sections import ClusterSettings
from tests.datatrax.orders_layout import LAYOUT
from tests.fakes.pusher import FakePusher
from tests.waiting import until


class Program:
    """One that is connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def says(self, *lines: str) -> None:
        self.writer.write("".join(line + "\n" for line in lines).encode())

    async def hears(self) -> str:
        """The next line; empty once the connection is closed."""
        async with asyncio.timeout(60):
            return (await self._reader.readline()).decode().rstrip("\n")

    async def hears_json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(await self.hears())
        return content


class Service:
    """A service of these settings, started at the first use."""

    def __init__(self, pusher: FakePusher) -> None:
        self.pusher = pusher
        self.settings: dict[str, Any] = {"patience_s": 60.0}
        self.running: DataTrax | None = None

    async def program(self) -> Program:
        if self.running is None:
            settings = DataTraxSettings.of(instant_port=0, http_port=0, pusher=self.pusher.address, **self.settings)
            self.running = await DataTrax.start(ClusterSettings(), settings)
        return Program(*await asyncio.open_connection("127.0.0.1", self.running.instant.port))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    pusher = FakePusher()
    await pusher.start()
    service = Service(pusher)
    yield service
    if service.running is not None:
        await service.running.stop()
    await pusher.stop()


def order(number: int) -> str:
    return json.dumps({"update_id": f"o-{number}", "volume_posted": {"member_id": "7", "amount": "12.50"}})


async def test_a_line_becomes_an_update_and_its_receipt_a_line(service: Service) -> None:
    program = await service.program()
    program.says(order(1), "", order(2))
    assert await program.hears_json() == {
        "update_id": "o-1", "position": 1, "duplicate": False, "outcome": "", "code": 0, "message": ""
    }  # fmt: skip
    assert (await program.hears_json())["position"] == 2
    again = await service.program()
    again.says(order(1))
    assert (await again.hears_json())["duplicate"] is True
    assert [update.update_id for update in service.pusher.updates] == ["o-1", "o-2"]


async def test_answers_come_in_the_order_of_the_lines_whatever_some_are(service: Service) -> None:
    program = await service.program()
    program.says(*(order(number) if number % 3 else f'{{"update_id": {number}}}' for number in range(1, 301)), "hello")
    for number in range(1, 301):
        receipt = await program.hears_json()
        if number % 3:
            assert (receipt["update_id"], receipt["code"]) == (f"o-{number}", 0)
        else:
            assert receipt["code"] == 3
            assert receipt["message"]
    assert "no JSON object, and no layout is set" in (await program.hears_json())["message"]


async def test_records_are_answered_by_fixed_places(service: Service, tmp_path: Path) -> None:
    (tmp_path / "orders.toml").write_text(LAYOUT)
    service.settings["instant_layout"] = str(tmp_path / "orders.toml")
    program = await service.program()
    program.says("A001" + "000007" + "000125}", "A001" + "000007" + "000125}", "A002" + "00000x" + "0001250", order(9))
    assert await program.hears() == "00 0000000000000000001"
    assert await program.hears() == "00 0000000000000000001 D"
    assert (await program.hears()).startswith("03 0000000000000000000   member_id (bytes 5 to 10): ")
    assert (await program.hears_json())["update_id"] == "o-9"
    assert service.pusher.updates[0].volume_posted.amount_hundredths == -1250


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("change = 1", "Expected `str`"),
        (LAYOUT.replace('update_id = "order-{order}"', "").replace('"order"', '"filler"'), "name an update_id"),
        (LAYOUT.replace('"member_id"', '"mumber"'), "did you mean member_id"),
        (LAYOUT.replace("\nupdate_id", '\nends = "none"\nupdate_id'), "a record there is a line"),
    ],
)
async def test_a_layout_that_can_not_be_is_told_at_the_start(tmp_path: Path, layout: str, expected: str) -> None:
    (tmp_path / "orders.toml").write_text(layout)
    settings = DataTraxSettings.of(instant_layout=str(tmp_path / "orders.toml"))
    with pytest.raises(SettingsError, match=expected):
        DataTrax(ClusterSettings(), settings)
    with pytest.raises(SettingsError, match="No such file"):
        DataTrax(ClusterSettings(), DataTraxSettings.of(instant_layout=str(tmp_path / "absent")))


async def test_while_the_pusher_is_away_lines_wait_and_are_then_told_to_come_again(service: Service) -> None:
    service.settings["patience_s"] = 0.5
    await service.pusher.stop()
    program = await service.program()
    program.says(order(1))
    receipt = await program.hears_json()
    assert (receipt["update_id"], receipt["code"]) == ("o-1", 14)
    assert "push it again, the same id counts once" in receipt["message"]
    assert service.running is not None
    assert not service.running._is_ready().good


async def test_a_pusher_that_comes_back_takes_what_waits(service: Service) -> None:
    program = await service.program()
    program.says(order(1))
    await program.hears()
    service.pusher.break_after = 0  # the stream ends before the next one's receipt
    program.says(order(2), order(3))
    assert [(await program.hears_json())["position"] for _ in range(2)] == [2, 3]
    assert service.running is not None
    assert service.running._is_ready().good


async def test_an_unfinished_line_is_not_taken(service: Service) -> None:
    program = await service.program()
    program.says(order(1))
    program.writer.write(order(2).encode())
    program.writer.write_eof()
    assert (await program.hears_json())["code"] == 0
    assert "has no end: it was not taken" in (await program.hears_json())["message"]
    assert await program.hears() == ""
    assert len(service.pusher.updates) == 1


async def test_what_a_program_may_cost_is_bounded(service: Service) -> None:
    service.settings |= {"instant_connections_max": 2, "instant_line_bytes_max": 1_024, "instant_idle_s": 0.5}
    long = await service.program()
    long.says("x" * 5_000)
    assert "longer than 1,024 bytes" in (await long.hears_json())["message"]
    assert await long.hears() == ""
    idle = await service.program()
    assert "no line for 0.5 s" in (await idle.hears_json())["message"]
    assert await idle.hears() == ""
    first, second = await service.program(), await service.program()
    first.says(order(1))
    second.says(order(2))
    await first.hears()
    await second.hears()
    third = await service.program()
    assert "2 programs are connected" in (await third.hears_json())["message"]
    assert await third.hears() == ""


async def test_a_program_that_reads_nothing_is_read_no_more(service: Service) -> None:
    service.settings["instant_waiting_max"] = 10
    deaf = await service.program()
    sent = 0
    while sent < 1_000_000:
        deaf.says(*[order(1)] * 1_000)
        sent += 1_000
        if deaf.writer.transport.get_write_buffer_size() > 1 << 24:  # more than any socket holds
            break
    assert service.running is not None
    port = service.running.instant
    lines = -1
    while lines != port.lines:
        lines = port.lines
        await asyncio.sleep(1.0)
    assert lines < sent
    other = await service.program()
    other.says(order(-1))
    assert (await other.hears_json())["code"] == 0
    deaf.writer.transport.abort()
    await until(lambda: port.connected == 1, "the deaf one to be gone")


async def test_those_who_wait_are_answered_at_the_end(service: Service) -> None:
    service.settings["drain_grace_s"] = 0.1
    program = await service.program()
    program.says(order(1))
    await program.hears()
    service.pusher.silent = True
    program.says(order(2))
    await until(lambda: service.running is not None and service.running.instant.lines == 2, "the line")
    assert service.running is not None
    ending, service.running = service.running, None
    await ending.stop()
    receipt = await program.hears_json()
    assert (receipt["update_id"], receipt["code"]) == ("o-2", 14)
    assert await program.hears() == ""
