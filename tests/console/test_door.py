"""Which requests the console looks at, and whom it takes them for."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from services.console.http.assets import FOLDER, read_assets
from services.console.http.key import OperatorKey
from services.shared.config.load import SettingsError
from tests.console.conftest import Asking, running_console
from tests.fakes.cluster import FakeCluster


async def test_every_page_forbids_what_it_does_not_need(console: Asking) -> None:
    for path in ("/", "/app.js", "/base.css", "/livez", "/nothing"):
        async with console.session.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Set-Cookie" not in answer.headers


async def test_what_has_not_changed_is_not_sent_again(console: Asking) -> None:
    async with console.session.get("/app.js") as first:
        assert first.headers["Content-Encoding"] == "gzip"
        assert b"takeCredentials" in await first.read()
    async with console.session.get("/app.js", headers={"If-None-Match": first.headers["ETag"]}) as second:
        assert second.status == 304
    async with console.session.get("/app.js", headers={"Accept-Encoding": "identity"}) as plain:
        assert b"takeCredentials" in await plain.read()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example.com"}, 421),
        ({"Authorization": "Basic YTpi"}, 401),
        ({}, 200),
    ],
)
async def test_no_page_of_a_stranger_asks_by_a_visitors_browser(
    console: Asking, headers: dict[str, str], status: int
) -> None:
    async with console.session.get("/api/state", headers=headers) as answer:
        assert answer.status == status


async def test_a_form_of_a_stranger_changes_nothing(cluster: FakeCluster, console: Asking) -> None:
    """It can't send the header that the pages send."""
    async with aiohttp.ClientSession() as stranger:
        url = f"http://127.0.0.1:{console.console.http.port}/api/pause"
        async with stranger.post(url, data={"a": "b"}) as answer:
            assert answer.status == 403
    assert not cluster.coordinator.cluster.paused


async def test_an_operator_shows_the_key(cluster: FakeCluster, tmp_path: Path) -> None:
    file = tmp_path / "state" / "key"
    async with running_console(cluster, key_file=str(file)) as asking:
        key = file.read_text().strip()
        assert len(key) >= 40
        assert file.stat().st_mode & 0o077 == 0
        for path in ("/api/state", "/api/events", "/api/runbook"):
            assert (await asking.get(path))[0] == 401
            assert (await asking.get(path, **{"X-FastTree-Key": key[:-1]}))[0] == 401
        assert (await asking.post("/api/pause"))[0] == 401
        assert await asking.get("/api/session") == (200, {"operator": False, "acts": False, "token": False, "sees": []})
        everything = ["cluster", "updates", "audit", "logs"]
        seen = {"operator": True, "acts": True, "token": False, "sees": everything}
        assert await asking.get("/api/session", **{"X-FastTree-Key": key}) == (200, seen)
        assert (await asking.get("/api/state", **{"X-FastTree-Key": key}))[0] == 200
    assert not cluster.coordinator.cluster.paused
    assert OperatorKey(file).is_shown(key)  # the same one after a restart


async def test_others_reach_no_console_without_a_key(cluster: FakeCluster) -> None:
    with pytest.raises(SettingsError, match=r"console\.key_file"):
        async with running_console(cluster, listen_host="0.0.0.0"):
            pass


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("short\n")
    with pytest.raises(SettingsError, match="holds less than"):
        OperatorKey(file)


def test_no_page_has_scripts_or_styles_in_it() -> None:
    page = (FOLDER / "index.html").read_text()
    assert "style=" not in page
    assert "onload" not in page
    assert page.count("<script") == page.count('src="') == 2
    assert "index.html" in read_assets()
