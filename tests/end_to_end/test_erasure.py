"""A real cluster with personal columns, by an import and by updates: what is erased is in no file of it any more, nor
of a node that was away meanwhile, and what was never erased only in the vaults.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from fasttree.client import Client, Endpoints, UploadOptions
from fasttree.v1 import pusher_pb2, report_pb2, types_pb2
from tests.command.fasttree_command import FastTree
from tests.end_to_end.test_failover import load_library

WAIT_S = 120.0
#: By member, what is said of nobody else; some are imported, some pushed, one is changed.
PHONES = {"a": "+46-70-1111111", "b": "+46-70-2222222", "c": "+46-70-3333333", "d": "+46-70-4444444"}
NAMES = {"a": "Zebulon Quistgaard", "b": "Yolanda Przybylski", "c": "Xerxes Oyelaran", "d": "Wilhelmina Ngata"}
HEADER, ABOVE = "member_id,sponsor_id,placement_id,kind,status,rank,joined_on,pv,phone,name", (("a", ""), ("b", "a"))
FIRST_PHONE_OF_C = "+46-70-9999999"
EVERY = {*PHONES.values(), *NAMES.values(), FIRST_PHONE_OF_C}
OF_A_AND_C = {PHONES["a"], PHONES["c"], FIRST_PHONE_OF_C, NAMES["a"], NAMES["c"]}


def files_with(folder: Path, text: str) -> set[str]:
    """Names of the files below a folder in which a text stands."""
    found = set()
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            try:
                content = file.read_bytes()
            except FileNotFoundError:  # written anew meanwhile
                continue
            if text.encode() in content:
                found.add(str(file.relative_to(folder)))
    return found


async def shown(client: Client, node: str, member_id: str) -> dict[str, str]:
    options = report_pb2.ReportOptions(columns=["member_id", "*"])
    return dict((await client.reports_at(node).get_member(member_id, options=options)).member.columns)


async def wait_shown(cluster: RunningCluster, client: Client, member_id: str, columns: dict[str, str]) -> None:
    async def as_wished() -> bool:
        return all([await shown(client, node, member_id) == columns for node in cluster.node_names])

    await wait_for(as_wished, WAIT_S, f"every node to show {columns} of {member_id}")


async def push(client: Client, *updates: types_pb2.Update) -> int:
    """Pushes; the last position."""
    receipts = [receipt async for receipt in client.push(updates)]
    assert [receipt.message for receipt in receipts if receipt.code] == []
    return receipts[-1].position


def columns_of(member_id: str, phone: str = "") -> dict[str, str]:
    return {"phone": phone or PHONES[member_id], "name": NAMES[member_id]}


async def test_a_member_s_personal_columns_are_erased_from_every_file(tmp_path: Path) -> None:
    rows = [f"{each},{above},,distributor,A,0,2026-01-01,0,{PHONES[each]},{NAMES[each]}" for each, above in ABOVE]
    file = tmp_path / "members.csv"
    file.write_text("\n".join([HEADER, *rows, ""]))
    async with running_cluster(tmp_path / "cluster", vip_port=None) as cluster:
        endpoints = cluster.folder / "endpoints.json"
        fasttree = FastTree(tmp_path / "command", Endpoints.read(endpoints))
        async with Client.from_endpoints_file(endpoints) as client:
            for name in ("phone", "name"):
                marked = await fasttree("column", "declare", name, "text", "--personal")
                assert marked.code == 0, marked.err
            await load_library(client, file)
            enrolments = [
                types_pb2.MemberEnrolled(
                    member_id=each, sponsor_id="a", columns=columns_of(each, FIRST_PHONE_OF_C if each == "c" else "")
                )
                for each in ("c", "d")
            ]
            updates = [types_pb2.Update(update_id=f"u-{each.member_id}", member_enrolled=each) for each in enrolments]
            changed = types_pb2.MemberChanged(member_id="c", columns={"phone": PHONES["c"]})
            order = types_pb2.VolumePosted(member_id="c", amount_hundredths=1_000)
            await push(client, *updates, types_pb2.Update(update_id="u-change", member_changed=changed))
            await push(client, types_pb2.Update(update_id="u-order", volume_posted=order))
            for each in PHONES:
                await wait_shown(cluster, client, each, columns_of(each))
            for value in EVERY:
                where = await asyncio.to_thread(files_with, cluster.folder, value)
                assert {Path(each).name for each in where} == {"personal.db"}, (value, where)

            await _erase(cluster, fasttree, "a", 2)
            away = cluster.node_names[1]
            cluster.kill(away, signal.SIGSTOP)
            await _erase(cluster, fasttree, "c", 3, away)
            for value in OF_A_AND_C:
                assert await asyncio.to_thread(files_with, cluster.folder, value) == set()

            await _erased_stays_erased(cluster, client, file)
    for value in OF_A_AND_C:  # with the last snapshots, after every process has ended
        assert files_with(cluster.folder, value) == set()
    assert {Path(each).name for each in files_with(cluster.folder, PHONES["d"])} == {"personal.db"}


async def _erase(cluster: RunningCluster, fasttree: FastTree, member_id: str, values: int, away: str = "") -> None:
    """Erases; returns once no node has anything any more. `away`: one that hears nothing, and is started anew then."""
    erased = await fasttree("erase", member_id, "--json")
    assert (erased.code, erased.json["values"]) == (0, values), erased.err

    async def waits_for() -> list[str]:
        status = await fasttree("erase", member_id, "--status", "--json")
        assert status.code == (0 if status.json["done"] else 3), status.err
        waits: list[str] = status.json["waits_for"]
        return waits

    async def waits_for_away_alone() -> bool:
        return await waits_for() == [away]

    async def is_done() -> bool:
        return await waits_for() == []

    if away:
        await wait_for(waits_for_away_alone, WAIT_S, f"{away} alone to have something of {member_id}")
        assert {Path(each).parent.name for each in files_with(cluster.folder, PHONES[member_id])} == {away}
        cluster.kill(away)
    await wait_for(is_done, WAIT_S, f"{member_id} to be gone everywhere")


async def _erased_stays_erased(cluster: RunningCluster, client: Client, file: Path) -> None:
    """The members are there, with their volumes, alike on all nodes; the same file doesn't bring the values back."""
    end = (await cluster.pusher()).log_end.position
    await cluster.wait_applied(end)
    await wait_shown(cluster, client, "d", columns_of("d"))
    for member_id in ("a", "c"):
        await wait_shown(cluster, client, member_id, {})
    for node in cluster.node_names:
        member = (await client.reports_at(node).get_member("a")).member
        assert (member.gv_hundredths, member.downline_count) == (1_000, 3)
    digests = [(await cluster.digest(node, end)).digest for node in cluster.node_names]
    assert len(set(digests)) == 1

    manifest = await client.upload_import(file, UploadOptions(as_of_position=end, force=True))
    states = [status.state async for status in client.watch_import(manifest.import_id)]
    assert states[-1] == pusher_pb2.IMPORT_STATE_DONE
    await wait_shown(cluster, client, "b", columns_of("b"))
    await wait_shown(cluster, client, "a", {})
