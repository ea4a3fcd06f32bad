"""The pages of the DataTrax host, of a service in this process."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from services.datatrax.app import DataTrax
from services.datatrax.settings import DataTraxSettings
from services.shared.config.sections import ClusterSettings
from tests.datatrax.messages.gateway import Gateway, write_channels


async def page(service: DataTrax, path: str) -> tuple[int, str]:
    """Its status and text."""
    url = f"http://127.0.0.1:{service.http.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_hits_of_messages_are_at_the_address_of_2016(tmp_path: Path) -> None:
    gateway = await Gateway().start()
    settings = DataTraxSettings.of(
        pusher="127.0.0.1:1",
        instant_port=0,
        http_port=0,
        message_port=0,
        message_folder=str(tmp_path / "state"),
        message_channels_file=str(write_channels(tmp_path, gateway)),
    )
    service = await DataTrax.start(ClusterSettings(), settings)
    assert service.messages is not None
    service.messages.runner.hits.write(["sms 7 taken in 3 ms"])
    status, text = await page(service, "/debug/htelevox.log")
    assert status == 200
    assert text.endswith("Z sms 7 taken in 3 ms\n")
    await service.stop()
    await gateway.stop()


async def test_without_a_coordinator_the_page_says_what_is_missing() -> None:
    settings = DataTraxSettings.of(pusher="127.0.0.1:1", instant_port=0, http_port=0)
    service = await DataTrax.start(ClusterSettings(), settings)
    status, text = await page(service, "/debug/mtree.log")
    assert (status, text) == (200, "cluster.coordinator is empty, and knows where the nodes are: name it\n")
    assert await page(service, "/debug/x.log") == (404, "no such log; there are mtree.log, hpushup.log\n")
    status, text = await page(service, "/debug/htelevox.log")
    assert (status, text.startswith("htelevox.log is there once messages are sent: set datatrax.message_")) == (
        404,
        True,
    )
    assert (await page(service, "/debug/..%2fapp.py"))[0] == 404
    await service.stop()
