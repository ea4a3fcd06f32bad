"""The spool: files of every form dropped into a folder of a running service, with a stand-in for the pusher."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, Endpoints
from fasttree.v1 import coordinator_pb2
from services.datatrax.app import DataTrax
from services.datatrax.progress import ProgressFiles
from services.datatrax.settings import DataTraxSettings
from services.datatrax.spool import folder
from services.shared.config.load import SettingsError
from services.shared.config.sections import ClusterSettings
from services.shared.files.durable import open_new
from tests.datatrax.orders_layout import LAYOUT
from tests.fakes.coordinator import FakeCoordinator
from tests.fakes.pusher import FakePusher
from tests.waiting import until

RECORDS = b"A001" + b"000007" + b"000125{" + b"\n" + b"A002" + b"000008" + b"000125}" + b"\n"
BY_PLACE = LAYOUT.replace('update_id = "order-{order}"', "").replace('"order"', '"filler"')


class Spool:
    """The folder, and the service that watches it."""

    def __init__(self, folder: Path, pusher: FakePusher) -> None:
        self.folder, self.pusher = folder, pusher
        self.settings: dict[str, Any] = {"patience_s": 60.0}
        self._running: DataTrax | None = None

    async def start(self) -> None:
        settings = DataTraxSettings.of(
            instant_port=0, http_port=0, pusher=self.pusher.address, spool_folder=str(self.folder), spool_poll_s=0.05,
            spool_marker_settle_s=0.1, **self.settings,
        )  # fmt: skip
        self._running = await DataTrax.start(ClusterSettings(), settings)

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.stop()
            self._running = None

    def layout(self, name: str, content: str = LAYOUT) -> None:
        (self.folder / "layouts").mkdir(parents=True, exist_ok=True)
        (self.folder / "layouts" / name).write_text(content)

    def drop(self, name: str, content: bytes | str) -> None:
        """With a marker."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        (self.folder / f"{name}.done").touch()

    async def goes(self, name: str, place: str) -> str:
        """Waits until it is there; its receipts."""
        await until((self.folder / place / name).exists, f"{place}/{name}")
        receipts = self.folder / place / f"{name}.receipts"
        return receipts.read_text() if receipts.exists() else ""

    def reasons(self, name: str) -> str:
        return (self.folder / "refused" / f"{name}.reasons").read_text()

    @property
    def ids(self) -> list[str]:
        return [update.update_id for update in self.pusher.updates]


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    pusher = FakePusher()
    await pusher.start()
    spool = Spool(tmp_path / "FT50201", pusher)
    yield spool
    await spool.stop()
    await pusher.stop()


def order(number: int, member: str = "7") -> str:
    return json.dumps({"update_id": f"o-{number}", "volume_posted": {"member_id": member, "amount": "12.50"}}) + "\n"


async def test_each_form_by_its_name(spool: Spool) -> None:
    spool.layout("orders.toml")
    spool.drop("a.jsonl", order(1) + "\n" + order(2))
    spool.drop("today.csv", "update_id,member_id,amount\no-3,7,1\n")
    spool.drop("member_enrolled.today.csv", 'update_id,member_id,columns.Note\ne-1,9,"two\nlines"\n')
    spool.drop("orders.20261127.dat", RECORDS)
    await spool.start()
    receipts = [json.loads(line) for line in (await spool.goes("a.jsonl", "done")).splitlines()]
    assert [(each["line"], each["update_id"], each["code"]) for each in receipts] == [(1, "o-1", 0), (3, "o-2", 0)]
    await spool.goes("today.csv", "done")
    row = json.loads(await spool.goes("member_enrolled.today.csv", "done"))
    assert (row["line"], row["update_id"]) == (2, "e-1")
    records = await spool.goes("orders.20261127.dat", "done")
    first, second = (len(line) for line in records.splitlines())
    assert first == second == 32
    assert records.startswith("        1 00 00000000000000000")
    assert sorted(spool.ids) == ["e-1", "o-1", "o-2", "o-3", "order-A001", "order-A002"]
    assert not [each for each in spool.folder.iterdir() if each.is_file()]


async def test_what_is_refused_is_told_by_line_and_mended_under_the_same_name(spool: Spool) -> None:
    spool.pusher.refuses["o-4"] = "2026-10 is closed"
    spool.drop("a.jsonl", order(1) + "hello\n" + order(3) + order(4) + "\xff\n")
    await spool.start()
    receipts = (await spool.goes("a.jsonl", "refused")).splitlines()
    assert [json.loads(line)["line"] for line in receipts] == [1, 2, 3, 4, 5]
    reasons = spool.reasons("a.jsonl").splitlines()
    assert reasons[0].startswith("line 2: not JSON from character 1 on")
    assert reasons[1] == "line 4: 2026-10 is closed"
    assert reasons[-1].startswith("Mend it and put the whole file here again under the same name")
    assert spool.ids == ["o-1", "o-3"]
    spool.pusher.refuses.clear()
    spool.drop("a.jsonl", order(1) + order(2) + order(3) + order(4))
    again = [json.loads(line) for line in (await spool.goes("a.jsonl", "done")).splitlines()]
    assert [(each["update_id"], each["duplicate"]) for each in again] == [
        ("o-1", True), ("o-2", False), ("o-3", True), ("o-4", False)
    ]  # fmt: skip
    assert spool.ids == ["o-1", "o-3", "o-2", "o-4"]


async def test_records_without_an_id_are_known_by_their_place_once(spool: Spool) -> None:
    spool.layout("orders.toml", BY_PLACE)
    spool.drop("orders.monday", RECORDS)
    await spool.start()
    await spool.goes("orders.monday", "done")
    assert spool.ids == ["orders.monday:1", "orders.monday:2"]
    spool.drop("orders.monday", RECORDS)
    await spool.goes("orders.monday", "refused")
    assert "done/orders.monday was taken already" in spool.reasons("orders.monday")
    spool.drop("orders.tuesday", RECORDS)
    await spool.goes("orders.tuesday", "done")
    assert len(spool.ids) == 4


@pytest.mark.parametrize(
    ("name", "content", "layout", "expected"),
    [
        ("x.dat", b"abc", "", "x.toml: No such file or directory; put it there"),
        (".hidden.dat", None, "", ""),
        ("orders.dat", RECORDS, "change = 1", "the layout"),
        ("orders.dat", RECORDS, LAYOUT.replace("member_id", "mumber"), "did you mean member_id"),
        ("a.csv", "", "", "line 1: no header"),
        ("a.csv", "member_id,amount\n7,1\n", "", "line 1: the header has no update_id"),
        ("a.csv", "update_id,member_id,amount\no-1,7\n", "", "line 2: the row has 2 fields, the header 3"),
        ("a.csv", 'update_id,member_id,amount\no-1,"7,1\n', "", "a quote is not closed"),
        ("a.jsonl", "{" * 2_000_000, "", "line 1: longer than 1,048,576 bytes"),
        ("a.jsonl", "[]\n", "", "line 1: not a JSON object"),
        ("orders.dat", RECORDS + b"A003" + b"00000x" + b"0001250\n", LAYOUT, "line 3: member_id (bytes 5 to 10)"),
        ("orders.dat", RECORDS[:-3], LAYOUT, "line 2: amount (bytes 11 to 17)"),
    ],
)
async def test_what_is_none_is_refused_with_its_place(
    spool: Spool, name: str, content: bytes | str | None, layout: str, expected: str
) -> None:
    if layout:
        spool.layout("orders.toml", layout)
    spool.drop("good.jsonl", order(1))
    if content is not None:
        spool.drop(name, content)
    await spool.start()
    await spool.goes("good.jsonl", "done")
    if content is not None:
        await spool.goes(name, "refused")
        assert expected in spool.reasons(name)


async def test_links_and_pipes_are_refused_and_strange_names_passed_over(spool: Spool, tmp_path: Path) -> None:
    spool.folder.mkdir()
    (tmp_path / "secret").write_text(order(9))
    (spool.folder / "link.jsonl").symlink_to(tmp_path / "secret")
    os.mkfifo(spool.folder / "pipe.jsonl")
    (spool.folder / ".taking-link.jsonl").symlink_to(tmp_path / "secret")
    spool.settings["spool_stable_s"] = 0.1
    await spool.start()
    await until(lambda: os.path.lexists(spool.folder / "refused/link.jsonl"), "the link")
    await until(lambda: os.path.lexists(spool.folder / "refused/pipe.jsonl"), "the pipe")
    assert "no regular file" in spool.reasons("link.jsonl")
    spool.drop("good.jsonl", order(1))
    await spool.goes("good.jsonl", "done")
    assert spool.ids == ["o-1"]


async def test_a_renamed_file_is_whole_at_once(spool: Spool) -> None:
    spool.settings["spool_stable_s"] = 3_600.0
    await spool.start()
    growing = spool.folder / "a.jsonl.tmp"
    growing.write_text(order(1))
    spool.drop("other.jsonl", order(2))  # by then the folder was looked at
    await spool.goes("other.jsonl", "done")
    growing.rename(spool.folder / "a.jsonl")
    await spool.goes("a.jsonl", "done")
    assert spool.ids == ["o-2", "o-1"]


async def test_a_pusher_that_is_away_holds_files_up_and_loses_none(spool: Spool) -> None:
    spool.settings["patience_s"] = 0.3
    spool.drop("a.jsonl", order(1) + order(2))
    host, port = spool.pusher.address.rsplit(":", 1)
    await spool.pusher.stop()
    await spool.start()
    await until((spool.folder / ".taking-a.jsonl").exists, "the claim")
    await asyncio.sleep(1.0)
    assert not (spool.folder / "done/a.jsonl").exists()
    await spool.stop()
    spool.pusher = FakePusher()
    await spool.pusher.start()
    await spool.start()
    await spool.goes("a.jsonl", "done")
    assert spool.ids == ["o-1", "o-2"]
    assert host
    assert port


async def test_a_stream_that_breaks_in_the_middle_takes_each_line_once(spool: Spool) -> None:
    spool.pusher.break_after = 1_000
    spool.drop("a.jsonl", "".join(map(order, range(3_000))))
    await spool.start()
    receipts = (await spool.goes("a.jsonl", "done")).splitlines()
    assert [json.loads(line)["line"] for line in receipts] == list(range(1, 3_001))
    assert spool.ids == [f"o-{number}" for number in range(3_000)]


async def test_a_file_of_refusals_alone_is_told_in_bounds(spool: Spool) -> None:
    spool.drop("a.jsonl", "x\n" * 30_000)
    await spool.start()
    assert len((await spool.goes("a.jsonl", "refused")).splitlines()) == 30_000
    reasons = spool.reasons("a.jsonl").splitlines()
    assert len(reasons) == 10_002
    assert reasons[-2] == "and 20000 more; the receipts have all of them"


async def test_the_nodes_progress_is_told_by_files(tmp_path: Path) -> None:
    coordinator = FakeCoordinator()
    await coordinator.start()
    coordinator.add_node("ftsp01", coordinator_pb2.NODE_STATE_PRIMARY, import_id=4, position=17)
    coordinator.add_node("ftsp02", coordinator_pb2.NODE_STATE_CATCHING_UP)
    settings = DataTraxSettings.of(
        instant_port=50_201, http_port=0, pusher="127.0.0.1:1", progress_folder=str(tmp_path / "fasttree")
    )
    client = Client(Endpoints(coordinator=coordinator.address))
    files = ProgressFiles(
        Path(settings.progress_folder), settings.instant.instant_port, client, settings.progress_kept_s
    )
    running = asyncio.create_task(files.run())
    first, second = tmp_path / "fasttree/ftsp01.50201", tmp_path / "fasttree/ftsp02.50201"
    await until(lambda: first.exists() and second.exists(), "both files")
    assert first.read_text() == "ftsp01: primary, import 4, position 17\n"
    assert second.read_text() == "ftsp02: catching up, import 0, position 0\n"
    before = first.stat().st_mtime_ns, second.stat().st_mtime_ns
    coordinator.cluster.nodes[0].status.position = 18
    await until(lambda: "position 18" in first.read_text(), "the change")
    assert first.stat().st_mtime_ns > before[0]
    assert second.stat().st_mtime_ns == before[1], "took nothing"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()
    await coordinator.stop()


def test_progress_needs_a_coordinator(tmp_path: Path) -> None:
    settings = DataTraxSettings.of(progress_folder=str(tmp_path / "fasttree"))
    with pytest.raises(SettingsError, match=r"cluster\.coordinator is empty"):
        DataTrax(ClusterSettings(), settings)


async def test_a_full_disk_holds_a_file_up_and_no_other_harm(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = True

    def open_on_a_full_disk(path: Path) -> int:
        return os.open("/dev/full", os.O_RDWR) if full else open_new(path)

    monkeypatch.setattr(folder, "open_new", open_on_a_full_disk)
    spool.drop("a.jsonl", "".join(map(order, range(3_000))))
    await spool.start()
    await until(lambda: "No space left" in caplog.text, "the word of the disk")
    assert (spool.folder / ".taking-a.jsonl").exists()
    full = False
    receipts = (await spool.goes("a.jsonl", "done")).splitlines()
    assert [json.loads(line)["code"] for line in receipts] == [0] * 3_000
    assert sorted(spool.ids) == sorted(f"o-{number}" for number in range(3_000))
    assert caplog.text.count("tries again") == 1, "told once"
