"""With certificates and tokens: what somebody does by the console is written down as hers, and is her role's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from bench.cluster.cluster import RunningCluster, running_cluster
from bench.console.browser import chromium
from bench.engine.genealogy import Genealogy, make_genealogy, write_genealogy
from fasttree.client import Client
from fasttree.command.tokens.commands import KEY_FILE
from fasttree.command.tokens.issuer import TokenIssuer
from services.console.http.guarding import OWN_HEADER
from services.shared.security.audit.files import OPERATIONS, file_of
from tests.end_to_end.browser import WAIT_MS, tab

pytestmark = [pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCluster]:
    folder = tmp_path_factory.mktemp("by-token")
    async with running_cluster(folder / "cluster", console=True, arguments=("--tls", "--tokens")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def members(cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Genealogy:
    """More of them, below one root, than a page of a downline has."""
    genealogy, file = make_genealogy(2_500, roots=1), tmp_path_factory.mktemp("members") / "members.csv"
    write_genealogy(genealogy, file)
    async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
        manifest = await client.upload_import(file)
        assert [one async for one in client.watch_import(manifest.import_id, patience_s=WAIT_MS / 1_000)]
    return genealogy


@pytest.fixture
def base(cluster: RunningCluster) -> str:
    return f"http://{cluster.endpoints['console']}/"


def token(cluster: RunningCluster, role: str, subject: str) -> str:
    """By the cluster's own issuer."""
    issuer = TokenIssuer(cluster.folder / "tokens" / KEY_FILE)
    return issuer.issue(role, subject if role == "leader" else "", subject, "", 3_600).token


def records(cluster: RunningCluster, service: str, method: str) -> list[dict[str, Any]]:
    """What stands in a service's audit log of operations, by call."""
    lines = file_of(cluster.folder / "state" / service / "audit", OPERATIONS, 1).read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["grpc_audit_log"]["rpc_method"].endswith(f"/{method}")]


async def test_what_a_person_does_is_written_down_as_hers(cluster: RunningCluster, browser: Browser, base: str) -> None:
    async with tab(browser, base, height=900) as opened:
        page = opened.page
        await opened.open(f"#token={token(cluster, 'operator', 'ann')}")
        await opened.sees("All is well.")
        for word in ("Pause", "Resume"):
            await page.get_by_role("button", name=f"{word} elections…").click()
            await page.get_by_role("dialog").get_by_role("button", name=word).click()
            await page.get_by_role("dialog").get_by_role("button", name="Close").click()
        await opened.open("#/periods")
        await page.get_by_role("button", name="Open a period…").click()
        await page.get_by_label("Month, as 2026-12").fill("2031-01")
        await page.get_by_role("button", name="Open", exact=True).click()
        await page.get_by_text("Done, at position").wait_for()
        for service, method in (("coordinator", "Pause"), ("coordinator", "Resume"), ("pusher", "PushUpdates")):
            found = records(cluster, service, method)
            assert [one["fasttree"]["kind"] for one in found] == ["begun", "ended"]
            assert {one["grpc_audit_log"]["principal"] for one in found} == {"token://operator/ann"}
            assert {one["fasttree"]["details"]["by"] for one in found} == {"spiffe://dot-local/console/console"}
        await opened.open("#/audit")
        row = page.locator("table.audit tr", has_text="Resume")
        await row.get_by_text("operator/ann").wait_for()
        assert "by dot-local/console/console" in await row.inner_text()
        assert await opened.violations() == []


async def test_an_auditor_sees_and_does_nothing(cluster: RunningCluster, browser: Browser, base: str) -> None:
    async with tab(browser, base) as opened:
        await opened.open(f"#token={token(cluster, 'auditor', 'olga')}")
        await opened.sees("All is well.")
        assert await opened.page.get_by_role("button", name="Pause elections…").count() == 0
        rooms = await opened.page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
        assert [room.strip() for room in rooms] == [
            "Cluster", "Imports", "Updates", "Periods", "History", "Audit", "Runbook", "Members", "Tree", "Downline",
        ]  # fmt: skip
        await opened.open("#/audit")
        await opened.sees("Is every record there")


async def test_a_role_that_operates_nothing_operates_nothing_by_the_console_either(
    cluster: RunningCluster, base: str
) -> None:
    """Its certificate may; whoever it asks for may not."""
    before = len(records(cluster, "coordinator", "Pause"))
    async with aiohttp.ClientSession(base, headers={OWN_HEADER: "1"}) as session:
        for role, subject in (("leader", "17"), ("auditor", "olga"), ("push-program", "shop")):
            shown = {"Authorization": f"Bearer {token(cluster, role, subject)}"}
            for path in ("/api/pause", "/api/switchover", "/api/imports/rollback", "/api/drill"):
                async with session.post(path, json={}, headers=shown) as answer:
                    assert (answer.status, role) == (403, role), path
            seen = {"leader": 403, "push-program": 403, "auditor": 200}[role]
            for path in ("/api/state", "/api/audit"):
                async with session.get(path, headers=shown) as answer:
                    assert answer.status == seen, (role, path)
            async with session.get("/api/logs", headers=shown) as answer:
                assert answer.status == 403
        async with session.post("/api/pause", headers={"Authorization": "Bearer a.b.c"}) as answer:
            assert answer.status == 401
    assert len(records(cluster, "coordinator", "Pause")) == before


async def test_a_leader_begins_at_his_own_page(
    cluster: RunningCluster, members: Genealogy, browser: Browser, base: str
) -> None:
    member_id = members.ids[int(members.sponsor.argmax())].decode()
    async with tab(browser, base) as opened:
        await opened.open(f"#token={token(cluster, 'leader', member_id)}")
        await opened.page.get_by_role("heading", name=f"Member {member_id}").first.wait_for()
        assert opened.page.url.endswith(f"#/members/{member_id}")


async def test_who_is_at_the_end_while_the_order_changes_gets_rows_of_the_new_one(
    cluster: RunningCluster, members: Genealogy, browser: Browser, base: str
) -> None:
    """The rows of before are there for a moment: what comes after them is not asked for, nor is it said to be wrong."""
    async with tab(browser, base) as opened:
        page = opened.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/downline?" in request.url else None)
        await opened.open(f"#token={token(cluster, 'operator', 'ann')}")
        await opened.sees("Live")
        await opened.open(f"#/downline/{members.ids[int(members.sponsor.argmin())].decode()}")
        await page.locator('tr[aria-rowindex="1"]').wait_for()
        # In one go, as quick hands do it: the question that follows comes 150 ms later.
        await page.evaluate("""() => {
          [...document.querySelectorAll(".rows th button")].find((one) => one.textContent === "Member").click();
          const box = document.querySelector(".rows");
          return new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(() => {
            box.scrollTop = box.scrollHeight;
            requestAnimationFrame(() => setTimeout(then, 1));
          })));
        }""")
        await opened.sees("Member ↑")
        async with asyncio.timeout(WAIT_MS / 1_000):
            while not [url for url in asked if "sort=member_id" in url and "page_token" not in url]:
                await page.wait_for_timeout(20)
        first = next(at for at, url in enumerate(asked) if "sort=member_id" in url)
        assert "page_token" not in asked[first]


async def test_a_bad_token_and_a_bad_key_lead_to_the_door(browser: Browser, base: str) -> None:
    async with tab(browser, base) as opened:
        page = opened.page
        await opened.open("#token=a.b.c")
        await opened.sees("the token is not one that counts here")
        assert await opened.violations() == []
        for secret, says in (("x.y.z", "the token is not one that counts here"), ("wrong", "does not know this key")):
            await page.get_by_label("Key or token").fill(secret)
            await page.get_by_role("button", name="Sign in").click()
            await opened.sees(says)
        assert await page.get_by_role("navigation").count() == 0
        assert await page.evaluate("sessionStorage.length") == 0
