"""Keys and what is revoked, as they change: files, and an address that answers well, badly, slowly, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from services.shared.security.settings import TlsError
from services.shared.security.tokens.bearer import TokenError
from services.shared.security.tokens.fetching import KeysError, fetch
from services.shared.security.tokens.following import Tokens
from services.shared.security.tokens.keys import BYTES_MAX
from services.shared.security.tokens.settings import TokenSettings
from tests.shared.security.tokens.issuer import Issuer, settings, write_keys
from tests.waiting import until

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_good(tokens: Tokens, issuer: Issuer) -> bool:
    try:
        return bool(tokens.bearer(issuer.bearer()))
    except TokenError:
        return False


@contextlib.asynccontextmanager
async def served(page: Page) -> AsyncIterator[str]:
    """The address of keys that somebody serves."""
    application = web.Application()
    application.router.add_get("/keys", page)
    application.router.add_get("/elsewhere", keys_page(Issuer()))
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    await runner.cleanup()


def keys_page(*issuers: Issuer) -> Page:
    async def page(_: web.Request) -> web.Response:
        return web.json_response({"keys": [each.public() for each in issuers]})

    return page


async def test_files_that_change_are_taken_and_bad_ones_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = Issuer(kid="k1"), Issuer(kid="k2")
    keys, revoked = write_keys(tmp_path / "keys.json", old), tmp_path / "revoked"
    revoked.write_text("")
    tokens = Tokens(settings(keys, revoked=str(revoked)))
    assert is_good(tokens, old)
    assert not await tokens.look()
    write_keys(keys, old, new)
    assert await tokens.look()
    assert is_good(tokens, old)
    assert is_good(tokens, new)
    with caplog.at_level(logging.ERROR):
        keys.write_text("{")
        assert not await tokens.look()
        assert not await tokens.look()
    assert [record.getMessage() for record in caplog.records] == [
        f"tokens: {keys}: is no JWKS: it is no JSON; what was there before goes on"
    ]
    assert is_good(tokens, new)
    write_keys(keys, new)
    assert await tokens.look()
    assert not is_good(tokens, old)
    revoked.write_text("sub alice\n")
    assert await tokens.look()
    assert not is_good(tokens, new)
    assert tokens.problems == []
    os.unlink(revoked)
    keys.write_text("{")
    assert not await tokens.look()
    assert not is_good(tokens, new)
    assert {problem.partition(": ")[0] for problem in tokens.problems} == {str(keys), str(revoked)}
    revoked.write_text("")
    write_keys(keys, new)
    assert await tokens.look()
    assert tokens.problems == []


def test_a_process_does_not_start_with_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"keys\.json: can't read the issuer's keys"):
        Tokens(settings(tmp_path / "keys.json"))
    keys = write_keys(tmp_path / "keys.json", Issuer())
    with pytest.raises(TlsError, match=r"revoked: can't read what is revoked"):
        Tokens(settings(keys, revoked=str(tmp_path / "revoked")))


async def test_keys_of_an_address_are_taken_and_the_last_good_ones_stay() -> None:
    old, new = Issuer(kid="k1"), Issuer(kid="k2")
    pages: list[Page] = [keys_page(old)]
    asked = 0

    async def page(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return await pages[0](request)

    async def broken(_: web.Request) -> web.Response:
        raise web.HTTPInternalServerError

    async with served(page) as url:
        tokens = Tokens(TokenSettings.of(**told(url), keys_refresh_s=0.02, keys_pause_s=0.01))
        assert not is_good(tokens, old)
        running = asyncio.create_task(tokens.run())
        await until(lambda: is_good(tokens, old), "as the address has it")
        pages[0] = broken
        before = asked
        await until(lambda: asked > before + 2, "as the address has it")
        assert is_good(tokens, old)
        assert tokens.problems == [f"{url} answers 500 in place of keys; the keys of before go on"]
        pages[0] = keys_page(new)
        await until(lambda: is_good(tokens, new), "as the address has it")
        assert not is_good(tokens, old)
        assert tokens.problems == []
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_address_that_never_answered_is_told_with_what_comes_of_it() -> None:
    async def broken(_: web.Request) -> web.Response:
        raise web.HTTPInternalServerError

    async with served(broken) as url:
        tokens = Tokens(TokenSettings.of(**told(url), keys_refresh_s=0.02, keys_pause_s=0.01))
        running = asyncio.create_task(tokens.run())
        await until(lambda: bool(tokens.problems), "it has been asked")
        assert tokens.problems == [f"{url} answers 500 in place of keys; no token is taken until there are some"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_key_that_nobody_knows_has_the_address_asked_but_not_at_every_token() -> None:
    asked, first, second = 0, Issuer(kid="k1"), Issuer(kid="k2")

    async def page(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return await keys_page(*([first] if asked == 1 else [first, second]))(request)

    async with served(page) as url:
        # By itself it is asked once an hour.
        tokens = Tokens(TokenSettings.of(**told(url), keys_refresh_s=3_600.0, keys_pause_s=0.2))
        running = asyncio.create_task(tokens.run())
        await until(lambda: is_good(tokens, first), "as the address has it")
        await until(lambda: is_good(tokens, second), "the new key is known")
        assert asked == 2
        loop, third = asyncio.get_running_loop(), Issuer(kid="k3")
        begun_s = loop.time()
        # Of a key that never comes: as often as may be, and no more.
        await until(lambda: is_good(tokens, third) or asked > 3, "it is asked for again")
        assert asked <= 3 + (loop.time() - begun_s) / 0.2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def told(url: str) -> dict[str, str]:
    found = settings(url)
    return {"keys": found.keys, "issuer": found.issuer, "audience": found.audience}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("moved", "answers 302"), ("lost", "answers 404"), ("endless", "sends more than"), ("silent", "not answer"),
        ("dripping", "not answer"), ("text", "is no JSON"), ("latin", "no UTF-8"), ("private", "private key"),
    ],
)  # fmt: skip
async def test_what_an_address_may_answer_is_bounded(name: str, why: str) -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        if name == "moved":
            raise web.HTTPFound("/elsewhere")
        if name == "lost":
            raise web.HTTPNotFound
        if name == "text":
            return web.Response(text="<html>")
        if name == "latin":
            return web.Response(body=b'{"keys": "\xe4"}')
        if name == "private":
            return web.json_response({"keys": [Issuer().key.as_dict(private=True)]})
        answer = web.StreamResponse()
        await answer.prepare(request)
        if name == "silent":
            await asyncio.sleep(60)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" " * (BYTES_MAX if name == "endless" else 1))
                await asyncio.sleep(0.01)
        return answer

    async with served(page) as url:
        with pytest.raises(KeysError, match=why) as raised:
            await fetch(settings(url, keys_timeout_s=60.0 if name == "endless" else 0.3))
    assert "\n" not in str(raised.value)


async def test_an_address_that_nobody_serves_and_one_that_is_not_who_it_says(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="can't be asked"):
        await fetch(settings("http://127.0.0.1:1/keys"))
    async with served(keys_page(Issuer())) as url:
        with pytest.raises(KeysError, match="can't be asked"):
            await fetch(settings(url.replace("http:", "https:")))
    with pytest.raises(KeysError, match="can't be asked"):
        await fetch(settings("https://127.0.0.1:1/keys", keys_ca=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"keys": "http://login.example.com/keys", "issuer": "i", "audience": "a"}, "keys"),
        ({"keys": "ftp://127.0.0.1/keys", "issuer": "i", "audience": "a"}, "keys"),
        ({"keys": "https:///keys", "issuer": "i", "audience": "a"}, "keys"),
        ({"keys": "http://127.0.0.1.example.com/", "issuer": "i", "audience": "a"}, "keys"),
        ({"keys": "keys.json", "audience": "a"}, "issuer"),
        ({"keys": "keys.json", "issuer": "i"}, "audience"),
        ({"without_certificate": True}, "without_certificate"),
    ],
)
def test_settings_that_cannot_be_together_say_so(given: dict[str, object], field: str) -> None:
    assert [problem.field for problem in TokenSettings.of(**given).problems()] == [field]


def test_settings_that_can() -> None:
    for keys in ("https://login.example.com/keys", "http://127.0.0.1:8080/keys", "http://[::1]/keys", "/etc/keys.json"):
        assert not list(TokenSettings.of(keys=keys, issuer="i", audience="a").problems())
    assert json.dumps(TokenSettings().keys) == '""'
