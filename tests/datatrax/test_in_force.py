"""CBLDATATRAX under a running service, as a process: from the file alone, and while the file is edited."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from fasttree.command.main import cli
from fasttree.command.session import CommandError, Session
from services.shared.python_process import python_command
from tests.datatrax.least_file import file_of
from tests.fakes.pusher import FakePusher
from tests.waiting import until

SAMPLE = Path(__file__).with_name("CBLDATATRAX.2016")
LINE = b'{"update_id": "%s", "volume_posted": {"member_id": "7", "amount": 1}}\n'


class Running:
    """A service, its programs' port and its pages."""

    def __init__(self, port: int, http_port: int, said: list[str]) -> None:
        self.port, self.http = port, f"127.0.0.1:{http_port}"
        #: What it has said so far.
        self.said = said

    async def answer(self, update_id: str) -> dict[str, Any]:
        """Of one line at its port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(LINE % update_id.encode())
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    async def status(self) -> dict[str, Any]:
        """What /status says of the file."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.http}/status") as page,
        ):
            content: dict[str, Any] = (await page.json())["cbldatatrax"]
        return content

    async def heard(self, words: str) -> None:
        """Waits until its log says so."""
        await until(lambda: any(words in line for line in self.said), f"a line with {words!r} in {self.said}")


@asynccontextmanager
async def running(*words: str) -> AsyncIterator[Running]:
    settings = ("datatrax.instant_port=0", "datatrax.http_port=0", "datatrax.cbldatatrax_poll_s=0.05")
    fast = ("datatrax.spool_poll_s=0.02", "datatrax.spool_marker_settle_s=0.01")
    given = (word for setting in settings + fast for word in ("--set", setting))
    process = await asyncio.create_subprocess_exec(
        *python_command("services.datatrax", *given, *words), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said: list[str] = []
    stderr = process.stderr

    def told(line: bytes) -> None:
        said.append(line.decode().rstrip())

    async def listen() -> None:
        async for line in stderr:
            told(line)

    listening = asyncio.create_task(listen())
    await until(lambda: any("lines at" in line for line in said) or process.returncode is not None, "a start")
    found = re.search(r"lines at 127\.0\.0\.1:([0-9]+), HTTP ([0-9]+)", "\n".join(said))
    assert found, said
    try:
        yield Running(int(found[1]), int(found[2]), said)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        await listening


async def typed(*words: str) -> tuple[str, str]:
    """What a command prints, and its error."""
    ran = await asyncio.to_thread(CliRunner().invoke, cli, [*words], obj=Session())
    assert ran.exception is None or isinstance(ran.exception, CommandError), ran.exception
    return ran.stdout, str(ran.exception or "")


async def refused(*words: str) -> str:
    """The last line of a service that does not start."""
    command = python_command("services.datatrax", "--set", "datatrax.http_port=0", *words)
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, error = await process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in error.decode()
    return error.decode().splitlines()[-1]


@pytest.fixture
async def pusher() -> AsyncIterator[FakePusher]:
    fake = FakePusher()
    await fake.start()
    yield fake
    await fake.stop()


async def test_a_changed_line_takes_effect_or_is_refused_and_never_half(tmp_path: Path, pusher: FakePusher) -> None:
    file, spool = tmp_path / "CBLDATATRAX", tmp_path / "root/datatrax/fasttree/FT0"
    file.write_text(file_of())
    words = ("--cbldatatrax", str(file), "--environment", "live", "--root", str(tmp_path / "root"))
    async with running(*words, "--set", f"datatrax.pusher={pusher.address}") as service:
        assert (await service.answer("o-1"))["code"] == 0
        file.write_text(file_of("FastTree-Instant-Push-live=N"))
        await service.heard("FastTree-Instant-Push-live is N, was Y; in force now")
        answer = await service.answer("o-2")
        assert (answer["update_id"], answer["code"]) == ("o-2", 9)
        assert answer["message"].startswith("instant push is off in live (FastTree-Instant-Push-live=N, line 7 of")

        (spool / "orders.1.jsonl").write_bytes(LINE % b"o-3")
        (spool / "orders.1.jsonl.done").touch()
        reasons = spool / "refused/orders.1.jsonl.reasons"
        await until(reasons.exists, "the file's reasons")
        assert "instant push is off in live" in reasons.read_text()
        assert "put it here again" in reasons.read_text()

        # One good line, which alone would be taken, and a bad one.
        file.write_text(file_of("FastTree-Instant-Push-live=Y", "FastTree-zipped-transfer=perhaps"))
        await service.heard("is refused, and changes nothing: line 8: FastTree-zipped-transfer must be Y or N")
        assert (await service.answer("o-4"))["code"] == 9
        status = await service.status()
        assert status["refused"] == ['line 8: FastTree-zipped-transfer must be Y or N; found "perhaps"']
        assert (status["takes_updates"], status["values"]["FastTree-Instant-Push-live"]) == (False, "N")

        file.write_text(file_of("FastTree-upload-live=/up"))
        await service.heard("FastTree-upload-live is /up, was empty; takes effect at the next start of the pusher")
        assert (await service.answer("o-5"))["code"] == 0
        status = await service.status()
        assert (status["refused"], status["takes_updates"], status["why_not"]) == ([], True, "")
        assert [each["name"] for each in status["waiting"]] == ["FastTree-upload-live"]
        printed, error = await typed("datatrax", "status", "--http", service.http)
        assert (printed.splitlines()[0], error) == (f"{file}, live: updates are taken", "")
        said = "waiting: FastTree-upload-live=/up (in force: empty) at the next start of the pusher"
        assert printed.splitlines()[1] == said

        file.unlink()
        await service.heard("is refused, and changes nothing: can't read it: No such file or directory")
        assert (await service.answer("o-6"))["code"] == 0
        printed, error = await typed("datatrax", "status", "--http", service.http)
        assert "refused: can't read it: No such file or directory\n" in printed
        assert error == f"{file} is refused, and changes nothing until it is mended"
    assert [update.update_id for update in pusher.updates] == ["o-1", "o-5", "o-6"]


async def test_ports_and_folders_are_the_files_where_no_setting_says_them(
    tmp_path: Path, pusher: FakePusher, unused_tcp_port: int
) -> None:
    file = tmp_path / "CBLDATATRAX"
    file.write_text(SAMPLE.read_text().replace("Server-Port=50201", f"Server-Port={unused_tcp_port}"))
    settings = ("datatrax.http_port=0", f"datatrax.pusher={pusher.address}")
    command = python_command(
        "services.datatrax", *(word for each in settings for word in ("--set", each)),
        "--cbldatatrax", str(file), "--root", str(tmp_path),
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    said = ""
    while "lines at" not in said:
        line = await asyncio.wait_for(process.stderr.readline(), 120)
        assert line, said
        said += line.decode()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    # The only environment of the sample that has a cluster.
    assert f"goes by {file} for test; updates are taken" in said
    assert f"lines at 127.0.0.1:{unused_tcp_port}" in said
    assert (tmp_path / f"datatrax/fasttree/FT{unused_tcp_port}/done").is_dir()


async def test_an_environment_out_of_use_says_so(tmp_path: Path, pusher: FakePusher) -> None:
    words = ("--cbldatatrax", str(SAMPLE), "--environment", "live", "--root", str(tmp_path))
    async with running(*words, "--set", f"datatrax.pusher={pusher.address}") as service:
        answer = await service.answer("o-1")
        assert answer["code"] == 9
        assert answer["message"].startswith("live has no cluster (FastTree-enabled-primary-live=N, line 17 of")
    assert pusher.updates == []


async def test_a_start_beside_a_file_with_a_fault_goes_by_what_was_in_force(tmp_path: Path, pusher: FakePusher) -> None:
    """A machine that comes back in the night needs nobody to mend a line first."""
    file = tmp_path / "CBLDATATRAX"
    words = ("--cbldatatrax", str(file), "--root", str(tmp_path / "root"), "--set", f"datatrax.pusher={pusher.address}")
    file.write_text(file_of("FastTree-Instant-Push-live=N"))
    async with running(*words) as service:
        assert (await service.answer("o-1"))["code"] == 9
        file.write_text(file_of("FastTree-upload-live=/up"))
        await service.heard("FastTree-Instant-Push-live is Y, was N; in force now")
        file.write_text(file_of("FastTree-Instant-Push-live=maybe"))
        await service.heard("is refused, and changes nothing: line 7: FastTree-Instant-Push-live")
    async with running(*words) as service:
        assert any("has a fault: goes by what was last in force" in line for line in service.said)
        assert (await service.answer("o-2"))["code"] == 0
        await service.heard("is refused, and changes nothing: line 7: FastTree-Instant-Push-live")
        status = await service.status()
        assert status["values"]["FastTree-upload-live"] == "/up"
        assert len(status["refused"]) == 1
        file.write_text(file_of())
        await service.heard("FastTree-upload-live is empty, was /up; takes effect at the next start of the pusher")
        assert (await service.status())["refused"] == []


async def test_what_can_not_be_in_force_is_one_line_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "CBLDATATRAX"
    assert "can't read it: No such file" in await refused("--cbldatatrax", str(file))
    file.write_text(file_of("FastTree-zip-process=rm", server_port_live="x"))
    said = await refused("--cbldatatrax", str(file))
    assert f"{file}: line 7: FastTree-server-port-live must be a port" in said
    assert "and 1 more; `fasttree datatrax config check`" in said
    assert "no environment qa; there are: live" in await refused("--cbldatatrax", str(SAMPLE), "--environment", "qa")
    file.write_text(file_of(enabled_primary_live="N"))
    assert "of live, none have a cluster (--environment" in await refused("--cbldatatrax", str(file))
    assert "up to 16 of a-z 0-9" in await refused("--environment", "no such")


async def test_without_the_file_its_page_says_so(pusher: FakePusher) -> None:
    async with running("--set", f"datatrax.pusher={pusher.address}") as service:
        assert (await service.answer("o-1"))["code"] == 0
        assert await service.status() is None
        assert "no CBLDATATRAX was named at its start" in (await typed("datatrax", "status", "--http", service.http))[0]
        assert await typed("datatrax", "status", "--http", service.http, "--json") == ("{}\n", "")
    _, error = await typed("datatrax", "status", "--http", service.http)
    assert error == f"the HTTP port {service.http} does not answer: Connection refused"
    assert "is no host:port" in (await typed("datatrax", "status", "--http", "here"))[1]
