"""The console of a real cluster in a real browser: every page, live through a failover, for everybody."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from bench.cluster.cluster import RunningCluster, running_cluster
from bench.console.browser import chromium
from fasttree.client import Client, Endpoints, Retries
from fasttree.client.drill import receipt as drill_receipt
from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.own_version import own_version
from tests.end_to_end.browser import WAIT_MS, tab
from tests.end_to_end.frames import scroll
from tests.shared.security.tokens.issuer import AUDIENCE, ISSUER, Issuer, write_keys

# One cluster and one browser for all: their connections belong to one loop.
pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

MEMBERS = 10_500
#: Each page, and what it shows once it is there.
PAGES = {
    "#/": "Updates behind the log",
    "#/imports": "in force",
    "#/updates": "member nobody is not known yet",
    "#/periods": "orders that name it, and those that name none",
    "#/members": "Without a placement",
    "#/members/1": "By rank",
    "#/tree/0": "group volume",
    "#/downline/0": f"{MEMBERS:,} members, as of import 1",
    "#/history": "as seen since the console started",
    "#/drill": "No drill yet since the console started",
    "#/audit": "Is every record there, as it was written?",
    "#/logs/pusher": "services.pusher.app",
    "#/runbook": "FastTreeNoPrimary",
    "#/runbook/FastTreeNoPrimary": "What it means",
}
#: Of a drill that kills the primary, in their order.
STEPS = (
    drill_receipt.READY, drill_receipt.IMPORTED, drill_receipt.TRAFFIC, drill_receipt.HITS, drill_receipt.SWITCHOVER,
    drill_receipt.KILLED, drill_receipt.BACK, drill_receipt.NOTHING_LOST, drill_receipt.READS, drill_receipt.UNDONE,
)  # fmt: skip


FIRST = ("Ann", "Bo", "Chandra", "Dolores", "Émile", "=Fay")
LAST = ("Meyer", "Okafor", "Rossi", "Šimić", "Tanaka", "van den Berg")


def members_csv() -> str:
    """Everybody but the root was enrolled by somebody of before: wide near the root, and deep."""
    draw = random.Random(50500)
    lines = ["member_id,sponsor_id,status,rank,joined_on,pv,name:text", "0,,A,8,2016-01-01,10.00,Zoë Root"]
    for number in range(1, MEMBERS):
        sponsor = int(number * draw.random() ** 2.5)
        day = f"{draw.randint(2016, 2025)}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"
        name = f"{draw.choice(FIRST)} {draw.choice(LAST)}"
        rest = f"{draw.choice('AAAI')},{draw.randint(0, 7)},{day},{draw.randint(0, 400)}.50,{name}"
        lines.append(f"{number},{sponsor},{rest}")
    return "\n".join(lines) + "\n"


async def import_file(client: Client, path: Path, text: str) -> int:
    path.write_text(text)
    manifest = await client.upload_import(path)
    return [status.state async for status in client.watch_import(manifest.import_id)][-1]


def endpoints(cluster: RunningCluster) -> Endpoints:
    return Endpoints.read(cluster.folder / "endpoints.json")


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> AsyncIterator[RunningCluster]:
    folder: Path = tmp_path_factory.mktemp("console")
    believed = {"keys": write_keys(folder / "keys.json", issuer), "issuer": ISSUER, "audience": AUDIENCE}
    given = [f"tokens.{name}={value}" for name, value in believed.items()]
    # How fast a read is answered beside other programs is not what a drill's test is about.
    given.append(f"console.drill_read_timeout_s={WAIT_MS / 2_000:g}")
    arguments = tuple(word for each in given for word in ("--set", each))
    async with running_cluster(folder / "cluster", console=True, arguments=arguments) as running:
        async with Client(endpoints(running), retries=Retries(timeout_s=WAIT_MS / 1_000)) as client:
            assert await import_file(client, folder / "members.csv", members_csv()) == pusher_pb2.IMPORT_STATE_DONE
            order = types_pb2.VolumePosted(member_id="nobody", amount_hundredths=100)
            updates = [types_pb2.Update(update_id="waits", volume_posted=order)]
            assert [receipt.position async for receipt in client.push(updates)]
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest.fixture
def base(cluster: RunningCluster) -> str:
    return f"http://{cluster.endpoints['console']}/"


async def test_each_page_opens_and_everybody_can_use_it(browser: Browser, base: str) -> None:
    """Light, dark, and as narrow as a telephone: axe-core finds nothing, and no page is wider than the window."""
    found = []
    for width, dark in ((1280, False), (1280, True), (360, False)):
        async with tab(browser, base, width=width, dark=dark) as opened:
            for path, text in PAGES.items():
                await opened.open(path)
                await opened.sees(text)
                found += await opened.violations()
                assert await opened.page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert found == []


async def test_the_page_goes_on_through_a_failover_and_says_so(
    cluster: RunningCluster, browser: Browser, base: str
) -> None:
    async with tab(browser, base, height=900) as opened:
        await opened.open("#/")
        await opened.sees("All is well.")
        software = opened.page.locator(".fact", has_text="oftware").locator("dd", has_text=own_version())
        await software.nth(3).wait_for()  # of two nodes, the pusher and the coordinator
        left = opened.page.locator(".node", has_text="primary").locator(".fact", has_text="Lease left").locator("dd")
        assert 0 < float((await left.inner_text()).removesuffix(" s")) <= 60
        await opened.picture("console-cluster")
        primary = (
            await opened.page.locator("article.node", has=opened.page.get_by_text("primary"))
            .get_by_role("heading")
            .inner_text()
        )
        before = int(await opened.page.locator(".tiles > div", has_text="Epoch").locator("dd").inner_text())
        os.kill(cluster.node(primary)["pid"], signal.SIGKILL)
        await opened.sees(f"epoch {before + 1}: ")
        await opened.sees("worth a look")
        await opened.page.get_by_role("link", name="What to do").first.wait_for()
        await opened.sees("All is well.")  # it was started again, and has caught up


async def test_a_switchover_says_what_it_does_and_is_done_by_keys_alone(browser: Browser, base: str) -> None:
    async with tab(browser, base) as opened:
        page = opened.page
        await opened.open("#/")
        await opened.sees("All is well.")
        await page.get_by_role("button", name="Switch over…").focus()
        await page.keyboard.press("Enter")
        await opened.sees("gives up its role")
        for _ in range(20):  # as fast as keys come: a question that is asked again is shown again
            await page.keyboard.press("Escape")
            await page.get_by_role("dialog").wait_for(state="detached")
            await page.keyboard.press("Enter")  # the focus is where it was
            await opened.sees("gives up its role")
        assert await opened.violations() == []
        await page.get_by_role("button", name="Switch over", exact=True).focus()
        await page.keyboard.press("Enter")
        await page.get_by_text("is primary, epoch").wait_for(timeout=WAIT_MS)


async def test_a_drill_is_begun_after_a_word_of_what_it_does_and_leaves_its_receipt(
    browser: Browser, base: str
) -> None:
    async with tab(browser, base, height=1_100) as opened:
        page = opened.page
        await opened.open("#/drill")
        await page.get_by_role("button", name="Begin a drill…").click()
        await opened.sees("the primary's process is killed for real")
        assert await opened.violations() == []
        await page.get_by_role("button", name="Begin the drill").click()
        await opened.sees("under way")
        await opened.sees("Beside the testing procedure of 2016")
        steps = page.get_by_label("Steps of the drill").locator("li")
        told = await steps.all_inner_texts()
        assert [text.partition("\n")[0] for text in told] == list(STEPS), told
        assert not [text for text in told if "\nbad" in text], told
        assert await opened.violations() == []
        await opened.picture("console-drill")
        async with page.expect_download() as saving:
            await page.get_by_role("button", name="Receipt as JSON").click()
        receipt = json.loads(Path(await (await saving.value).path()).read_text())
        assert receipt["good"] is True
        assert {one["result"] for one in receipt["procedure_2016"]} == {"good"}


async def test_what_was_done_is_in_the_audit_and_its_chains_are_whole(browser: Browser, base: str) -> None:
    async with tab(browser, base, height=900) as opened:
        page = opened.page
        await opened.open("#/cluster")
        await opened.sees("All is well.")
        for word in ("Pause", "Resume"):
            await page.get_by_role("button", name=f"{word} elections…").click()
            await page.get_by_role("dialog").get_by_role("button", name=word).click()
            await page.get_by_role("dialog").get_by_role("button", name="Close").click()
        await opened.open("#/audit")
        await page.get_by_label("Outcome").select_option("operations")
        await page.locator("table.audit tr", has_text="Resume").get_by_text("done").first.wait_for()
        await opened.picture("console-audit")
        await page.get_by_label("Call").fill("pause")
        await page.locator("table.audit tr", has_text="Resume").first.wait_for(state="detached")
        assert await page.locator("table.audit tbody tr").count() >= 1
        await page.get_by_role("button", name="Verify the chains").click()
        await opened.sees("chains whole")
        assert await opened.violations() == []


async def test_logs_are_followed(browser: Browser, base: str) -> None:
    async with tab(browser, base, height=900) as opened:
        page = opened.page
        await opened.open("#/logs")
        await page.get_by_role("link", name="n1", exact=True).click()
        log = page.get_by_label("Log of n1")
        await log.wait_for()
        assert "n1" in page.url
        await page.get_by_label("With").fill("primary")
        await opened.sees("with “primary”")
        assert all("primary" in line.lower() for line in (await log.inner_text()).splitlines() if line)
        await opened.picture("console-logs")


async def test_a_console_that_goes_away_is_said_to_be_away_until_it_is_back(
    cluster: RunningCluster, browser: Browser, base: str
) -> None:
    async with tab(browser, base) as opened:
        await opened.open("#/")
        await opened.sees("Live")
        pid = cluster.endpoints["pids"]["console"]
        os.kill(pid, signal.SIGKILL)
        await opened.sees("Reconnecting.")
        await opened.sees("What is shown is as of")
        await opened.sees("Live")  # `fasttree up` has started it again, at the same address


async def test_the_tree_is_drawn_and_opened_by_mouse_and_keys(browser: Browser, base: str) -> None:
    async with tab(browser, base, height=900) as opened:
        await opened.open("#/tree/0")
        canvas = opened.page.locator("canvas.tree")
        await opened.page.locator("canvas.tree[data-ready]").wait_for()
        before = int(await canvas.get_attribute("data-boxes") or 0)
        assert 10 < before <= 2_000
        await opened.picture("console-tree")
        await canvas.focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
            await opened.page.keyboard.press(key)
        await opened.page.keyboard.press("Enter")
        await opened.page.locator("canvas.tree[data-opened-ms]").wait_for()
        assert int(await canvas.get_attribute("data-boxes") or 0) != before
        assert "members in the leg" in await opened.page.locator("#tip").inner_text()
        await canvas.click(position={"x": 20, "y": 300})  # closes the root
        await opened.page.locator('canvas.tree[data-boxes="1"]').wait_for()


#: Rows that come into sight by a third of a box.
MOVED = "(box) => box.clientHeight / 3 / box.querySelector('tr[aria-rowindex]').offsetHeight"


async def test_ten_thousand_rows_are_scrolled_and_saved(
    browser: Browser, base: str, record_property: Callable[[str, object], None]
) -> None:
    """Those in sight alone are in the page, and the last one is the last one."""
    async with tab(browser, base) as opened:
        page = opened.page
        await opened.open("#/downline/0")
        await page.get_by_role("button", name="Member", exact=True).click()
        await opened.sees("Member ↑")
        rows = page.locator(".rows")
        last = page.locator(f'tr[aria-rowindex="{MEMBERS}"]')
        async with asyncio.timeout(WAIT_MS / 1_000):
            while not await last.count():
                await rows.evaluate("(box) => { box.scrollTop = box.scrollHeight; }")
                assert await page.locator(".rows tbody tr").count() < 120
        assert await last.locator("td").first.inner_text() == "9999"
        # All rows are there by now. How smooth that is, is told: no test depends on a machine that is quick. What a
        # frame changes is the page's own: the rows that came and went by a third of a box, and nothing beside them.
        await rows.evaluate("(box) => { box.scrollTop = 0; }")
        await page.locator('tr[aria-rowindex="1"]').wait_for()
        scrolled = await scroll(rows)
        assert await rows.evaluate("(box) => box.scrollTop") > 0
        moved = await rows.evaluate(MOVED)
        assert scrolled.outside == 0
        assert scrolled.inside < 3 * moved
        print("a scrolled table, ms a frame:", scrolled.told)
        record_property("frames_ms", scrolled.told)
        async with page.expect_download() as saving:
            await page.get_by_role("button", name="CSV").click()
        saved = await (await saving.value).path()
        assert len(Path(saved).read_text().splitlines()) == MEMBERS + 1
        async with page.expect_download() as saving:
            await page.get_by_role("button", name="Excel").click()
        assert (await saving.value).suggested_filename == "downline-0.xlsx"
        assert zipfile.is_zipfile(await (await saving.value).path())


async def test_a_leader_finds_a_member_and_sees_its_legs_live(
    cluster: RunningCluster, browser: Browser, base: str
) -> None:
    async with tab(browser, base, height=1_000) as opened:
        await opened.open("#/members")
        find = opened.page.get_by_label("Find a member by id or name")
        await find.fill("17")
        await opened.page.keyboard.press("Enter")
        await opened.sees("Member 17")
        await find.fill("zoë r")
        await opened.page.locator('#found option[value="0"]').wait_for(state="attached")
        await opened.page.keyboard.press("Enter")
        await opened.sees("Member 0")
        await opened.sees("New in the last 14 days")
        await opened.open("#/members/0")
        await opened.sees("The largest 24 by group volume")
        await opened.sees("live")
        await opened.picture("console-members")
        total = opened.page.locator(".fact", has_text="Group volume").locator("dd")
        before = await total.inner_text()
        async with Client(endpoints(cluster)) as client:
            order = types_pb2.VolumePosted(member_id="9999", amount_hundredths=123_456)
            update = types_pb2.Update(update_id="live", volume_posted=order)
            assert [receipt.position async for receipt in client.push([update])]
        async with asyncio.timeout(WAIT_MS / 1_000):
            while await total.inner_text() == before:
                await opened.page.wait_for_timeout(100)
        await opened.page.locator(".orders tr", has_text="9999").get_by_text("1,234.56").wait_for()


async def test_a_leader_sees_the_orders_of_his_downline_and_no_others(
    cluster: RunningCluster, browser: Browser, base: str, issuer: Issuer
) -> None:
    async with Client(endpoints(cluster), retries=Retries(timeout_s=WAIT_MS / 1_000)) as client:
        sponsor = (await client.reports.get_member("9999")).member.sponsor_id
        leads = sponsor if sponsor != "0" else "9999"
        async with tab(browser, base) as opened:
            await opened.open(f"#token={issuer.token(role='leader', member_id=leads)}")
            await opened.sees("Live")
            await opened.open("#/members")
            await opened.page.locator(".orders").get_by_text("live", exact=True).wait_for()
            orders = [("0", 11), ("9999", 22), ("1", 33), ("9999", -44), (leads, 55)]
            updates = [
                types_pb2.Update(
                    update_id=f"mine-{amount}",
                    volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount),
                )
                for member_id, amount in orders
            ]
            assert len([receipt async for receipt in client.push(updates)]) == len(orders)
            rows = opened.page.locator(".orders tbody tr")
            await rows.filter(has_text="0.55").wait_for()
            seen = [(await row.locator("td").all_inner_texts())[1:3] for row in await rows.all()]
            for amount in ("0.11", "0.33"):
                assert amount not in [shown for _, shown in seen]
            assert ["9999", "0.22"] in seen
            assert ["9999", "-0.44"] in seen
            assert await opened.violations() == []


async def test_a_token_shows_what_its_holder_may_see_and_a_bad_one_nothing(
    browser: Browser, base: str, issuer: Issuer
) -> None:
    async with tab(browser, base) as opened:
        await opened.open(f"#token={issuer.token()}")
        await opened.sees("Live")
        assert "token" not in opened.page.url
        await opened.open("#/members/0")
        await opened.sees("The largest 24 by group volume")
    async with tab(browser, base) as opened:
        await opened.open(f"#token={issuer.token(role='push-program')}")
        await opened.sees("Live")
        await opened.open("#/members/0")
        await opened.page.get_by_role("alert").first.wait_for()
        assert await opened.page.locator(".leg").count() == 0
    async with tab(browser, base) as opened:
        await opened.open("#token=a.b.c")
        await opened.sees("the token is not one that counts here")


async def test_a_refused_import_shows_its_rows(
    cluster: RunningCluster, browser: Browser, base: str, tmp_path: Path
) -> None:
    async with Client(endpoints(cluster)) as client:
        bad = "member_id,sponsor_id,status,rank,joined_on,pv\n0,,A,1,2020-01-01,1.00\n1,0,A,1,2020-01-01,many\n"
        assert await import_file(client, tmp_path / "bad.csv", bad) == pusher_pb2.IMPORT_STATE_REFUSED
    async with tab(browser, base) as opened:
        await opened.open("#/imports")
        await opened.sees("1 row refused")
        assert await opened.violations() == []
        async with opened.page.expect_download() as saving:
            await opened.page.get_by_role("button", name="Refused rows as CSV").click()
        assert "3,pv," in Path(await (await saving.value).path()).read_text()
        await opened.open("#/")
        await opened.sees("import 2 was refused")
