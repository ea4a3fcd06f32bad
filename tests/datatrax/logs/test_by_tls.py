"""A node's pages by certificates: they are asked with this process's own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.datatrax.logs.asking import NodeError, NodePages
from services.shared.debug.debug_log import NODE_LOG, DebugLog
from services.shared.debug.pages import DebugPages
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from tests.shared.http2.certificates import Authority
from tests.shared.security.test_identity import lay_out


async def test_logs_are_gathered_by_tls(tmp_path: Path) -> None:
    begin(lay_out(tmp_path / "tls", Authority(tmp_path / "authority"), "dtx01", "datatrax"))
    log, metrics, pages = DebugLog(tmp_path / NODE_LOG, 1 << 20), Metrics("test", "test_"), NodePages(answer_s=30.0)
    served = DebugPages({NODE_LOG: log}, log.follow)
    port = OpsPort("test.http_port", metrics, {"/readyz": lambda: Verdict(True, "ready")}, served.routes())
    place = f"localhost:{await port.start('127.0.0.1', 0)}"
    try:
        log.write(["a line"])
        (line,) = await pages.last(place, f"/debug/{NODE_LOG}", 5)
        assert line.endswith(" a line")
        following = pages.follow(place, f"/debug/{NODE_LOG}?follow=1&lines=1")
        assert (await asyncio.wait_for(anext(following), 30)).endswith(" a line")
        begin(TlsSettings())  # whoever has no certificate has no logs
        with pytest.raises(NodeError):
            await pages.last(place, f"/debug/{NODE_LOG}", 5)
    finally:
        begin(TlsSettings())
        served.end()
        await pages.close()
        await port.stop()
        metrics.close()
        log.close()
