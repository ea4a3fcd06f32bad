"""Logs and audit logs of parts on other machines: by their own ports, bounded, and said to be away where they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from services.console.parts.asking import _BYTES_MAX
from services.shared.debug.own_log import LINES_MAX, OWN_LINES, KeptLines
from services.shared.debug.own_pages import own_pages
from services.shared.security.audit.log import begin_audit, end_audit
from services.shared.security.audit.settings import AuditSettings
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from tests.console.conftest import running_console
from tests.console.test_machine import write_audit
from tests.fakes.cluster import FakeCluster
from tests.waiting import until


@asynccontextmanager
async def part() -> AsyncIterator[str]:
    """A part's HTTP port, in this process."""
    metrics = Metrics("pusher", "fasttree_pusher_")
    port = OpsPort("pusher.http_port", metrics, {"/readyz": lambda: Verdict(True, "")}, list(own_pages()))
    try:
        yield f"127.0.0.1:{await port.start('127.0.0.1', 0)}"
    finally:
        await port.stop()
        metrics.close()


@asynccontextmanager
async def stranger(content: bytes, wait_s: float = 0.0) -> AsyncIterator[str]:
    """Something else at that port."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(wait_s)
        return web.Response(body=content)

    application = web.Application()
    application.router.add_get("/logs", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def own_log() -> Iterator[logging.Logger]:
    """One that writes to what this process keeps."""
    logger = logging.getLogger("tests.part")
    logger.addHandler(OWN_LINES)
    OWN_LINES.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    yield logger
    logger.removeHandler(OWN_LINES)


async def test_a_part_elsewhere_shows_its_newest_lines_without_secrets(
    cluster: FakeCluster, own_log: logging.Logger
) -> None:
    async with part() as place, running_console(cluster, pusher_http=place) as console:
        assert (await console.get("/api/logs"))[1] == {"files": None, "parts": ["pusher"]}
        for number in range(5):
            own_log.warning("line %d", number)
        own_log.error("a call came with Bearer SECRET of\x1b[31m 8 s")
        _, told = await console.get("/api/logs/tail?part=pusher&lines=2")
        assert (told["name"], told["lines"][0]) == ("pusher", "WARNING line 4")
        assert "[hidden]" in told["lines"][1]
        assert "SECRET" not in told["lines"][1]
        assert told["lines"][1].isprintable()
        assert (await console.get("/api/logs/tail?part=nobody"))[0] == 404


def test_what_is_kept_of_a_log_is_bounded() -> None:
    kept = KeptLines()
    for number in range(2 * LINES_MAX):
        kept.emit(logging.LogRecord("n", logging.INFO, "", 0, f"{number} {'x' * 10_000}\nmore", (), None))
    assert len(kept.last(10 * LINES_MAX)) == LINES_MAX
    assert max(map(len, kept._lines)) <= 2_001
    assert kept.last(2)[0].startswith(f"{2 * LINES_MAX - 1} x")


async def test_a_part_elsewhere_shows_its_audit_log_as_it_is_asked_for(cluster: FakeCluster, tmp_path: Path) -> None:
    async with part() as place, running_console(cluster, coordinator_http=place) as console:
        assert (await console.get("/api/audit?part=coordinator"))[1]["records"] is None
        write_audit(tmp_path / "audit")
        begin_audit(AuditSettings.of(), "coordinator", tmp_path)
        try:
            _, told = await console.get("/api/audit?part=coordinator&outcome=refused")
            assert [one["kind"] for one in told["records"]] == ["refused"]
            status, answer = await console.get("/api/audit?part=coordinator&outcome=odd")
            assert (status, "outcome must be" in answer["error"]["message"]) == (503, True)
        finally:
            end_audit()


async def test_a_part_that_is_away_is_said_to_be_and_nobody_waits(cluster: FakeCluster) -> None:
    """Nor for one that says too much, or is none."""
    async with (
        stranger(b'{"lines": []}', wait_s=3_600) as silent,
        stranger(b"x" * (_BYTES_MAX + 1)) as loud,
        stranger(b"[1]") as other,
        part() as good,
        running_console(cluster, pusher_http=f"{silent},{loud},{other},127.0.0.1:1,{good}") as console,
    ):
        waiting = asyncio.create_task(console.get(f"/api/logs/tail?part=pusher {silent}"))
        assert (await console.get(f"/api/logs/tail?part=pusher {good}"))[0] == 200
        for name, status, words in (
            ("127.0.0.1:1", 503, "does not answer"),
            (loud, 503, "bytes"),
            (other, 409, "no part of a cluster"),
        ):
            found, answer = await console.get(f"/api/logs/tail?part=pusher {name}")
            assert (found, words in answer["error"]["message"]) == (status, True), answer
        found, answer = await waiting
        assert (found, "no answer within 0.3 s" in answer["error"]["message"]) == (503, True)


async def test_nodes_are_asked_where_the_coordinator_knows_them(cluster: FakeCluster) -> None:
    async with part() as place:
        cluster.coordinator.cluster.nodes[1].address.http = place
        async with running_console(cluster) as console:

            async def known() -> bool:
                return bool((await console.get("/api/logs"))[1]["parts"] == ["n2"])

            await until(known, "the node's place to be known")
            assert (await console.get("/api/logs/tail?part=n2"))[0] == 200


async def test_they_are_an_operators(cluster: FakeCluster, tmp_path: Path) -> None:
    async with part() as place, running_console(cluster, key_file=str(tmp_path / "key"), pusher_http=place) as console:
        for path in ("/api/audit?part=pusher", "/api/logs/tail?part=pusher"):
            assert (await console.get(path))[0] == 401
