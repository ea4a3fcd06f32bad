"""Commands that change or watch the cluster: push, import, status, switchover, follow, log."""

import asyncio
import dataclasses
from importlib.metadata import version
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.pusher.log.sqlite import SqliteLog
from services.shared.wire.record import content_bytes
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster


def order(update_id: str, amount: str = "12.50") -> str:
    return f'{{"update_id": "{update_id}", "volume_posted": {{"member_id": "m1", "amount": "{amount}"}}}}\n'


async def test_push_from_a_file_twice(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "updates.jsonl").write_text(order("o-1") + "\n" + order("o-2"))
    first = await fasttree("push", "updates.jsonl")
    assert (first.code, first.out) == (0, "pushed 2 updates: 2 new; positions 1 to 2\n")
    again = await fasttree("push", "updates.jsonl")
    assert (again.code, again.out) == (0, "pushed 2 updates: 0 new, 2 known already; positions 1 to 2\n")


async def test_push_from_a_pipe_with_receipts(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("push", "-", "--json", "--ack", "all", stdin=order("o-1") + order("o-2", "-3"))
    assert [(line["update_id"], line["position"], line["code"]) for line in ran.json_lines] == [
        ("o-1", 1, 0),
        ("o-2", 2, 0),
    ]
    assert cluster.pusher.updates[1].volume_posted.amount_hundredths == -300


async def test_push_sends_a_line_of_a_pipe_at_once(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    import sys

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fasttree.command", "--endpoints", str(fasttree.endpoints_path), "push", "-", "--json"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(order("o-1").encode())
    await process.stdin.drain()
    receipt = await asyncio.wait_for(process.stdout.readline(), 30)
    assert b'"position": 1' in receipt
    process.stdin.close()
    assert await process.wait() == 0


async def test_a_malformed_line_is_named_and_nothing_after_it_is_pushed(
    cluster: FakeCluster, fasttree: FastTree, tmp_path: Path
) -> None:
    (tmp_path / "updates.jsonl").write_text(order("o-1") + '{"update_id": "o-2"}\n' + order("o-3"))
    ran = await fasttree("push", "updates.jsonl")
    assert ran.code == 1
    assert ran.out == "pushed 1 update: 1 new; position 1\n"
    assert ran.err.startswith("error: updates.jsonl, line 2: no change in it")
    assert ran.err.count("\n") == 1
    assert [update.update_id for update in cluster.pusher.updates] == ["o-1"]


async def test_a_refused_update_is_named_with_its_line(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "updates.jsonl").write_text("\n" + order("o-1") + order("o-1", "99"))
    ran = await fasttree("push", "updates.jsonl")
    assert ran.code == 1
    assert "error: updates.jsonl, line 3 (o-1): other content under this id" in ran.err
    assert "1 of 2 updates refused; the reasons stand above" in ran.err


async def test_a_missing_file(fasttree: FastTree) -> None:
    ran = await fasttree("push", "nothing.jsonl")
    assert ran.code == 1
    assert ran.err == "error: nothing.jsonl can't be read: No such file or directory\n"


async def test_import_and_wait(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "members.csv").write_text("member_id\n1\n2\n3\n")
    ran = await fasttree("import", "members.csv", "--wait", "--as-of-position", "0", "--force")
    assert ran.code == 0
    assert ran.out == "import 1 members.csv: done, 3 rows (n1 done)\n"
    assert "uploading members.csv 100 %" in ran.err
    assert "n1 downloads" in ran.err
    assert cluster.pusher.imports[0].manifest.force
    listed = await fasttree("import", "list", "--json")
    assert listed.json[0]["state"] == "done"


async def test_import_without_waiting(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "members.csv").write_text("member_id\n1\n")
    ran = await fasttree("import", "members.csv")
    assert (ran.code, ran.out) == (0, "import 1 rolls out now; `fasttree status` shows how far it is\n")


REMARK = "nobody said which position the export began at: the file is taken as of 2, and 2 updates came since"


async def test_updates_since_the_export_are_warned_of(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "members.csv").write_text("member_id\n1\n")
    cluster.pusher.updates = [types_pb2.Update(update_id=f"order-{number}") for number in range(2)]
    cluster.pusher.remark = REMARK
    ran = await fasttree("import", "members.csv")
    assert ran.code == 0
    assert f"warning: {REMARK}\n" in ran.err
    as_json = await fasttree("import", "members.csv", "--json")
    assert (as_json.json["remark"], f"warning: {REMARK}\n" in as_json.err) == (REMARK, True)
    for position in ("0", "2", "end"):
        named = await fasttree("import", "members.csv", "--as-of-position", position, "--json")
        assert (named.code, named.json["remark"], "warning" in named.err) == (0, "", False)
        assert named.json["as_of_position"] == (2 if position == "end" else int(position))
    for wrong in ("-1", "1.0", "2 ", "now", ""):
        refused = await fasttree("import", "members.csv", "--as-of-position", wrong)
        assert (refused.code, "is no position: write a number from 0, or end" in refused.err) == (2, True)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
async def test_somebody_at_a_terminal_is_asked(
    cluster: FakeCluster, fasttree: FastTree, tmp_path: Path, answer: str, code: int
) -> None:
    (tmp_path / "members.csv").write_text("member_id\n1\n")
    cluster.pusher.remark = REMARK
    ran = await fasttree.at_a_terminal("import", "members.csv", types=answer)
    assert ran.code == code
    assert f"{REMARK}\nDoes the file hold them? [y/N]: " in ran.err
    assert "warning" not in ran.err
    assert ("error: members.csv was not imported" in ran.err) == (code == 1)
    assert len(cluster.pusher.imports) == 1 - code
    cluster.pusher.remark = ""
    quiet = await fasttree.at_a_terminal("import", "members.csv", types="")
    assert (quiet.code, "Does the file" in quiet.err) == (0, False)


async def test_a_refused_import_names_its_rows(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "members.csv").write_text("member_id,sponsor_id\n1,\n2,9\n3,1\n")
    ran = await fasttree("import", "--wait", "members.csv")
    assert ran.code == 1
    assert 'line 3, column sponsor_id: the sponsor "9" is not in the file' in ran.err
    assert "error: import 1 was refused by n1: 1 of 3 rows can't be taken; the tree before serves on" in ran.err
    as_json = await fasttree("import", "--wait", "members.csv", "--json")
    assert as_json.json["rejected_rows"][0]["line"] == 3


async def test_without_arguments_there_is_help(fasttree: FastTree) -> None:
    for arguments in ([], ["import"], ["log"]):
        ran = await fasttree(*arguments)
        assert ran.code == 2
        assert ran.err.startswith("Usage: fasttree")


async def test_its_version_is_the_package_s(fasttree: FastTree) -> None:
    ran = await fasttree("--version")
    assert (ran.code, ran.out) == (0, f"fasttree {version('ha-fasttree')}\n")


async def test_import_rollback(fasttree: FastTree, tmp_path: Path) -> None:
    refused = await fasttree("import", "rollback")
    assert (refused.code, "no import before" in refused.err) == (1, True)
    for name in ("before.csv", "members.csv"):
        (tmp_path / name).write_text("member_id\n1\n")
        await fasttree("import", "--wait", name)
    ran = await fasttree("import", "rollback")
    assert ran.code == 0
    assert "going back to before.csv, as import 3" in ran.err


async def test_status(fasttree: FastTree) -> None:
    ran = await fasttree("status")
    lines = ran.out.splitlines()
    assert lines[0] == "dot-test · epoch 4 · primary n1 · log at 0"
    assert lines[1].split() == ["node", "role", "state", "epoch", "import", "position", "lag"]
    assert lines[2].split() == ["n1", "primary", "primary", "4", "1", "7", "0"]
    assert lines[3].split() == ["n2", "passive", "passive", "1", "7", "0"]
    as_json = await fasttree("status", "--json")
    assert [node["role"] for node in as_json.json["nodes"]] == ["primary", "passive"]
    assert as_json.json["problems"] == []


async def test_status_says_that_the_log_is_damaged(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.pusher.log_damage = "the log is damaged: log record at position 7"
    ran = await fasttree("status")
    assert (ran.code, ran.err) == (1, "error: the log is damaged: log record at position 7\n")
    as_json = await fasttree("status", "--json")
    assert as_json.json["log"]["damage"] == as_json.json["problems"][0] == cluster.pusher.log_damage


async def test_status_names_a_node_with_an_import_of_somebody_else(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.pusher.strange_import_id = 77
    ran = await fasttree("status")
    assert ran.code == 1
    assert ran.err.startswith("error: n1 serves import 77, which the pusher never gave: see docs/operations.md")
    as_json = await fasttree("status", "--json")
    assert [node["import_unknown"] for node in as_json.json["nodes"]] == [True, None]


async def test_status_of_a_pusher_that_can_not_open_its_log(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.pusher.log_id, cluster.pusher.log_damage = "", "log.db is damaged: bring back a whole copy"
    ran = await fasttree("status")
    assert (ran.code, ran.err) == (1, "error: log.db is damaged: bring back a whole copy\n")
    assert ran.out.splitlines()[0] == "dot-test · epoch 4 · primary n1 · no log"
    assert [node["lag"] for node in (await fasttree("status", "--json")).json["nodes"]] == [None, None]


async def test_status_says_why_a_pusher_of_this_machine_ended(cluster: FakeCluster, tmp_path: Path) -> None:
    """One whose log is damaged can't start, and so can't say it."""
    fasttree = FastTree(tmp_path, dataclasses.replace(cluster.endpoints, pusher="127.0.0.1:1"))
    (fasttree.endpoints_path.parent / "logs").mkdir()
    log = fasttree.endpoints_path.parent / "logs" / "pusher.log"
    log.write_text("2026-11-27 INFO pusher starts\nerror: pusher: state/log.db is damaged: bring back a whole copy\n")
    ran = await fasttree("status", "--timeout", "1")
    assert ran.code == 1
    assert ran.err.endswith("; it ended with: pusher: state/log.db is damaged: bring back a whole copy\n")
    log.write_text("error: pusher: something of yesterday\n2026-11-27 INFO pusher starts\n")
    assert "it ended with" not in (await fasttree("status", "--timeout", "1")).err


async def test_status_without_a_coordinator_shows_the_rest(cluster: FakeCluster, tmp_path: Path) -> None:
    fasttree = FastTree(tmp_path, dataclasses.replace(cluster.endpoints, coordinator="127.0.0.1:1"))
    ran = await fasttree("status", "--timeout", "1")
    assert ran.code == 1
    assert ran.out.splitlines()[0] == "dot-test · log at 0"
    assert ran.err.startswith("error: coordinator: nobody answers at 127.0.0.1:1")


async def test_status_with_everybody_down_names_the_nodes(cluster: FakeCluster, tmp_path: Path) -> None:
    down = dataclasses.replace(cluster.endpoints, coordinator="127.0.0.1:1", pusher="127.0.0.1:1")
    fasttree = FastTree(tmp_path, down)
    ran = await fasttree("status", "--timeout", "1")
    assert [line.split() for line in ran.out.splitlines()[2:]] == [["n1", "unknown"], ["n2", "unknown"]]
    assert ran.err.startswith("error: coordinator: nobody answers at 127.0.0.1:1 (Connection refused")
    assert ("; pusher: nobody answers" in ran.err, ran.err.count("127.0.0.1:1")) == (True, 2)
    as_json = await fasttree("status", "--timeout", "1", "--json")
    assert [(node["node"], node["position"]) for node in as_json.json["nodes"]] == [("n1", None), ("n2", None)]


async def test_switchover_pause_resume(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("switchover", "--to", "n2")
    assert ran.out == "n2 is primary (before: n1), epoch 5, took 12 ms\n"
    again = await fasttree("switchover", "--to", "n2")
    assert again.out == "n2 is primary already, epoch 5\n"
    back = await fasttree("switchover", "--json")
    assert back.json == {"from_node": "n2", "to_node": "n1", "epoch": 6, "took_ms": 12}
    unknown = await fasttree("switchover", "--to", "n7")
    assert (unknown.code, unknown.err) == (1, "error: no node n7: `fasttree status` lists them\n")
    cluster.coordinator.cluster.pushers.add(name="pusher-2")
    for words, told in (
        (("--to", "pusher-2"), "no node pusher-2: `fasttree status` lists them; pusher-2 is a pusher: add --pusher"),
        (
            ("--to", "n1", "--pusher"),
            "there is no pusher n1 that takes turns; there are: pusher-2; n1 is a node: leave out --pusher",
        ),
        (("--to", "n7", "--pusher"), "there is no pusher n7 that takes turns; there are: pusher-2"),
    ):
        other = await fasttree("switchover", *words)
        assert (other.code, other.err) == (1, f"error: {told}\n")
    assert (await fasttree("pause")).code == 0
    assert cluster.coordinator.cluster.paused
    assert (await fasttree("resume", "--json")).json == {"paused": False}
    assert not cluster.coordinator.cluster.paused


async def test_follow_shows_updates_and_the_cluster(fasttree: FastTree) -> None:
    await fasttree("push", "-", stdin=order("o-1") + order("o-2"))
    ran = await fasttree("follow", "--from", "1", "--count", "5", "--json")
    updates = [line for line in ran.json_lines if line["event"] == "update"]
    cluster = {line["subject"]: line["value"] for line in ran.json_lines if line["event"] == "cluster"}
    assert [(line["position"], line["update"]["update_id"]) for line in updates[:2]] == [(1, "o-1"), (2, "o-2")]
    assert cluster["primary"] == "n1 (epoch 4)"


async def test_the_log_dumps_what_push_takes(cluster: FakeCluster, fasttree: FastTree) -> None:
    pushed = order("o-1") + order("o-2", "-3.00")
    await fasttree("push", "-", stdin=pushed)
    dumped = await fasttree("log", "dump")
    assert dumped.out == pushed
    again = await fasttree("push", "-", stdin=dumped.out)
    assert "2 known already" in again.out
    assert (await fasttree("log", "dump", "--json", "--from", "2")).json_lines[0]["position"] == 2
    for asked in ("dump", "verify"):
        beyond = await fasttree("log", asked, "--from", "99")
        assert (beyond.code, beyond.out) == (1, "")
        assert beyond.err == "error: no record from 99 to 2: the log has 1 to 2\n"


async def test_the_log_is_verified(cluster: FakeCluster, fasttree: FastTree) -> None:
    await fasttree("push", "-", stdin=order("o-1") + order("o-2"))
    sound = await fasttree("log", "verify")
    assert (sound.code, sound.out) == (
        0,
        "2 records, positions 1 to 2: sound, as the pusher sends them, the newest from its memory; "
        "--folder DIR reads its disk\n",
    )
    cluster.pusher.updates[1] = types_pb2.Update()
    damaged = await fasttree("log", "verify")
    assert damaged.code == 1
    assert "position 2: has no update_id" in damaged.err


async def test_a_log_on_disk_is_shown_and_checked_without_a_pusher(fasttree: FastTree, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    store = SqliteLog(folder).claim_alone()
    updates = [
        types_pb2.Update(update_id=f"o-{number}", volume_posted=types_pb2.VolumePosted(member_id="m1"))
        for number in range(3)
    ]
    store.append([update.update_id for update in updates], [content_bytes(update) for update in updates])
    store.close()
    shown = await fasttree("log", "dump", "--folder", str(folder), "--from", "2", "--json")
    assert [(line["position"], line["update"]["update_id"]) for line in shown.json_lines] == [(2, "o-1"), (3, "o-2")]
    for asked in ("dump", "verify"):
        beyond = await fasttree("log", asked, "--folder", str(folder), "--from", "99")
        assert (beyond.code, beyond.out) == (1, "")
        assert beyond.err == f"error: no record from 99 to the end: the log in {folder} has none of them\n"
    sound = await fasttree("log", "verify", "--folder", str(folder))
    assert (sound.code, sound.out) == (0, "3 records, positions 1 to 3: sound\n")
    (folder / "log.db").write_bytes((folder / "log.db").read_bytes().replace(b"\x0a\x03o-1", b"\x0a\x03o-9"))
    damaged = await fasttree("log", "verify", "--folder", str(folder))
    assert damaged.code == 1
    assert "log record at position 2 is damaged" in damaged.out
    assert len(damaged.err.splitlines()) == 1
    nowhere = await fasttree("log", "verify", "--folder", str(tmp_path / "client"))
    assert nowhere.code == 2


async def test_a_log_is_adopted_only_where_nodes_have_another_past(cluster: FakeCluster, fasttree: FastTree) -> None:
    nothing = await fasttree("log", "adopt", "--reason", "the disk is gone")
    assert (nothing.code, "nothing to adopt" in nothing.err) == (1, True)
    cluster.pusher.contested_by = "log-0"
    told = await fasttree("status")
    assert "no pushes are taken: nodes have the state of log log-0" in told.out
    assert (told.code, told.err) == (1, "error: no pushes are taken: nodes have the state of log log-0\n")
    assert (await fasttree("status", "--json")).json["log"]["closed"]
    # Whatever stands in that log, the nodes have another one: it is no measure of them.
    told = await fasttree("log", "verify")
    assert (told.code, ": sound" in told.out) == (1, True)
    assert told.err == "error: no pushes are taken: nodes have the state of log log-0\n"
    adopted = await fasttree("log", "adopt", "--reason", "the disk is gone", "--json")
    assert adopted.json == {"log_id": "log-1", "replaced_log_ids": ["log-0"]}
    after = await fasttree("status")
    assert (after.code, "no pushes" in after.out + after.err) == (0, False)
