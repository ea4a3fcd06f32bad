"""A real cluster that seals what it keeps, what is personal too: over a clear folder, through a kill of everything, by
a new key, and not with another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tarfile
from pathlib import Path

from bench.cluster.cluster import RunningCluster, children_of, running_cluster, wait_for
from fasttree.client import Client, Endpoints, UploadOptions
from fasttree.v1 import pusher_pb2, report_pb2, types_pb2
from services.shared.files.sealed.keys import new_key_line
from services.shared.personal.needed import values_by_key
from tests.command.fasttree_command import FastTree
from tests.fakes.import_file import csv_of

WAIT_S = 120.0
#: Members by when they came: in clear, sealed, and by the second key.
NAMES = CLEAR, SEALED, LATER = "quetzal", "axolotl", "ocelot"
PARTS = {"pusher", "n1", "n2"}
#: What a personal column has of each of them begins so.
PHONES = {CLEAR: "+46-70-111", SEALED: "+46-70-222", LATER: "+46-70-333"}
#: Ten values by the import of each but the last, twenty by pushes of each.
VALUES = 80


def files_with(folder: Path, text: str) -> set[str]:
    """Names of the files below a folder in which a text stands."""
    found = set()
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
            if file.is_file() and text.encode() in file.read_bytes():
                found.add(str(file.relative_to(folder)))
    return found


async def import_of(cluster: RunningCluster, client: Client, folder: Path, *names: str) -> None:
    """Members of these names, ten each, with their phones; the file's own name stays readable."""
    file = folder / f"members-{len(names)}.csv"
    rows = [(f"{name}-{number}", f"{name}-0" * (number > 0), "1.00") for name in names for number in range(10)]
    header, *lines = csv_of(rows).decode().splitlines()
    phones = [f"{PHONES[name]}-{number}" for name in names for number in range(10)]
    file.write_text("\n".join([f"{header},phone", *map(",".join, zip(lines, phones, strict=True)), ""]))
    end = (await cluster.pusher()).log_end.position
    manifest = await client.upload_import(file, UploadOptions(as_of_position=end, force=True))
    states = [status.state async for status in client.watch_import(manifest.import_id)]
    assert states[-1] == pusher_pb2.IMPORT_STATE_DONE


async def push(cluster: RunningCluster, client: Client, name: str, under: str) -> int:
    """Twenty enrolments; their last position, once every node has it."""
    updates = [
        types_pb2.Update(
            update_id=f"u-{NAMES.index(name)}-{number}",  # it stays readable
            member_enrolled=types_pb2.MemberEnrolled(
                member_id=f"{name}-u{number}",
                sponsor_id=f"{under}-0",
                columns={"phone": f"{PHONES[name]}-u{number}"},
            ),
        )
        for number in range(20)
    ]
    receipts = [receipt async for receipt in client.push(updates)]
    assert [receipt.message for receipt in receipts if receipt.code] == []
    await cluster.wait_applied(receipts[-1].position, timeout_s=WAIT_S)
    return receipts[-1].position


async def digests(cluster: RunningCluster, position: int) -> set[int]:
    return {(await cluster.digest(name, position)).digest for name in cluster.node_names}


async def wait_kept(state: Path, values: dict[str, int]) -> None:
    """Until each vault has so many values by each key, and needs no other."""

    async def are_kept() -> bool:
        return all([await asyncio.to_thread(values_by_key, state / part) == values for part in PARTS])

    await wait_for(are_kept, WAIT_S, f"every vault to have {values}")


async def kill_everything(cluster: RunningCluster) -> None:
    """As a power failure: nobody writes a last word."""
    pids = [cluster.pid, *children_of(cluster.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await cluster.close_channels()

    async def are_gone() -> bool:
        return not any(Path(f"/proc/{pid}/cmdline").exists() and _lives(pid) for pid in pids)

    await wait_for(are_gone, WAIT_S, "every process to be gone")


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


_PORTS = {"treenode": ("report_port", "instant_port", "http_port"), "pusher": ("port", "http_port")}


async def refused(part: str, state: Path, *settings: str) -> str:
    """What a service says that does not start."""
    given = [f"{part}.state_folder={state}", *(f"{part}.{port}=0" for port in _PORTS[part]), *settings]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{part}", *(word for each in given for word in ("--set", each)),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), WAIT_S)
    said = (out + err).decode()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    return said.splitlines()[-1]


def said_by(folder: Path, text: str) -> set[str]:
    """The parts in whose logs it stands."""
    return {path.stem for path in (folder / "logs").glob("*.log") if text in path.read_text()}


def kept_in(state: Path) -> dict[str, tuple[int, int]]:
    """Everything that members are in, with its size and its time of change."""
    kept = [path for path in state.rglob("*") if path.suffix in (".snapshot", ".csv", ".db")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in kept}


async def test_a_cluster_seals_what_it_keeps(tmp_path: Path) -> None:
    keys, folder = tmp_path / "state.keys", tmp_path / "cluster"
    state, endpoints = folder / "state", folder / "endpoints.json"
    sealed = ("--set", f"sealing.key_file={keys}", "--set", "sealing.reload_s=0.02")
    async with running_cluster(folder) as cluster:
        fasttree = FastTree(tmp_path / "command", Endpoints.read(endpoints))
        assert (await fasttree("column", "declare", "phone", "text", "--personal")).code == 0
        async with Client.from_endpoints_file(endpoints) as client:
            await import_of(cluster, client, tmp_path, CLEAR)
            before = await push(cluster, client, CLEAR, CLEAR)
        clear = await digests(cluster, before)
        await wait_kept(state, {"": 30})
        assert (await fasttree("keys", "init", str(keys), "--id", "one")).code == 0
    for part in PARTS:
        assert await asyncio.to_thread(files_with, state / part, CLEAR)  # so it would be found
        assert await asyncio.to_thread(files_with, state / part, PHONES[CLEAR]) == {"personal.db"}

    # Over the clear folder, and nobody gets to save anything when it ends.
    cluster = await RunningCluster.start(folder, arguments=sealed)
    try:
        await cluster.wait_ready()
        assert await digests(cluster, before) == clear
        async with Client.from_endpoints_file(endpoints) as client:
            await import_of(cluster, client, tmp_path, CLEAR, SEALED)
            last = await push(cluster, client, SEALED, SEALED)
        known = await digests(cluster, last)
        assert len(known) == 1
        await wait_kept(state, {"one": 60})
    finally:
        await kill_everything(cluster)
    for text in (SEALED, PHONES[SEALED], PHONES[CLEAR]):
        assert await asyncio.to_thread(files_with, state, text) == set()

    async with running_cluster(folder, arguments=sealed) as cluster:
        await cluster.wait_ready()
        await cluster.wait_applied(last, timeout_s=WAIT_S)
        assert await digests(cluster, last) == known
        assert (await fasttree("keys", "rotate", str(keys), "--id", "two")).code == 0

        async def have_taken_it() -> bool:
            return await asyncio.to_thread(said_by, folder, "is sealed by key two from now on") == PARTS

        await wait_for(have_taken_it, WAIT_S, "the new key to be taken by all")
        async with Client.from_endpoints_file(endpoints) as client:
            end = await push(cluster, client, LATER, SEALED)
            await wait_kept(state, {"two": VALUES})
            await _phones_are_shown(cluster, client)
        assert len(await digests(cluster, end)) == 1
        fasttree = FastTree(tmp_path / "command", Endpoints.read(endpoints))
        await _a_lost_file_of_keys_is_told(fasttree, keys)
        bundled = await fasttree("bundle", "--out", str(tmp_path / "bundle.tar.gz"))
        assert bundled.code == 0, bundled.err
    for text in (SEALED, LATER, *PHONES.values()):
        assert await asyncio.to_thread(files_with, state, text) == set()
    await _secrets_are_nowhere(keys, folder, tmp_path / "bundle.tar.gz")
    await _keys_are_shown(fasttree, state, keys)
    await _without_the_keys_nothing_starts(tmp_path, state)
    verified = await fasttree("log", "verify", "--key-file", str(keys), "--folder", str(state / "pusher"))
    assert verified.code == 0, verified.err


async def _a_lost_file_of_keys_is_told(fasttree: FastTree, keys: Path) -> None:
    """By everybody who would not start anew without it, until it is back."""

    async def are_told(parts: set[str]) -> bool:
        status = json.loads((await fasttree("status", "--json")).out)
        told = {each["part"] for each in status["sealing"] if "No such file" in each["problem"]}
        problems = "".join(status["problems"])
        return told == parts == {part for part in PARTS if f"{part} can't use its file of keys" in problems}

    away = keys.rename(keys.with_name("away"))
    await wait_for(lambda: are_told(PARTS), WAIT_S, "the lost file of keys to be told")
    away.rename(keys)
    await wait_for(lambda: are_told(set()), WAIT_S, "the file of keys to be good again")


async def _secrets_are_nowhere(keys: Path, folder: Path, bundle: Path) -> None:
    secrets = [line.split()[1] for line in keys.read_text().splitlines()]
    assert len(secrets) == 2
    with tarfile.open(bundle) as archive:
        bundled = b"".join(file.read() for each in archive if (file := archive.extractfile(each)) is not None)
    assert b"sealing" in bundled  # so the settings are in it
    for secret in secrets:
        assert await asyncio.to_thread(files_with, folder, secret) == set()
        assert secret.encode() not in bundled


async def _phones_are_shown(cluster: RunningCluster, client: Client) -> None:
    options = report_pb2.ReportOptions(columns=["member_id", "phone"])
    for node in cluster.node_names:
        for name, number in ((CLEAR, "7"), (SEALED, "7"), (SEALED, "u7"), (LATER, "u7")):  # imported and pushed
            shown = await client.reports_at(node).get_member(f"{name}-{number}", options=options)
            assert shown.member.columns["phone"] == f"{PHONES[name]}-{number}"


async def _keys_are_shown(fasttree: FastTree, state: Path, keys: Path) -> None:
    shown = await fasttree("keys", "show", "--dir", str(state), "--key-file", str(keys), "--json")
    assert shown.code == 0, shown.err
    sealed = {(Path(row["folder"]).name, row["key"]): row for row in shown.json["sealed"]}
    assert {part for part, key in sealed if key == "two"} == PARTS
    # The pusher's own record of the import is one more.
    assert sealed["pusher", "one"]["records"] >= sealed["pusher", "two"]["records"] == 20
    assert {(part, key): row["values"] for (part, key), row in sealed.items() if row["values"]} == {
        (part, "two"): VALUES for part in PARTS
    }
    clear = {Path(row["folder"]).name: row["records"] for row in shown.json["clear"]}
    assert clear["pusher"] >= 20


async def _without_the_keys_nothing_starts(folder: Path, state: Path) -> None:
    """Each says why in one line, and nothing is other than it was."""
    other, before = folder / "other.keys", kept_in(state)
    other.touch(0o600)
    other.write_text(new_key_line("two") + new_key_line("one"))
    for settings, words in (
        ((), "and no keys are named: set sealing.key_file"),
        ((f"sealing.key_file={other}",), f"in sealing.key_file = {other}: bring back the one"),
        ((f"sealing.key_file={folder / 'none'}",), "can't read it: No such file"),
    ):
        parts = {"treenode": state / "n1", "pusher": state / "pusher"}
        lines = await asyncio.gather(*(refused(part, place, *settings) for part, place in parts.items()))
        for part, line in zip(parts, lines, strict=True):
            assert line.startswith(f"error: {part}: ")
            assert words in line
    assert kept_in(state) == before
