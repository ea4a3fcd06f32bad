"""`fasttree message` as somebody types it: previewed, sent, watched, stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from services.datatrax.messages.port import MessagePort
from services.datatrax.messages.settings import MessageSettings
from services.shared.serving.background import Background
from services.shared.serving.settings import ServingSettings
from tests.command.fasttree_command import FastTree, Ran
from tests.datatrax.messages.gateway import Gateway, write_channels
from tests.fakes.cluster import FakeCluster
from tests.waiting import until

TEMPLATE = ("--channel", "sms", "--template", "Hello {member_id}: {pv}")


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    started = await Gateway().start()
    yield started
    started.open.set()
    await started.stop()


@pytest.fixture
async def fasttree(cluster: FakeCluster, gateway: Gateway, tmp_path: Path) -> AsyncIterator[FastTree]:
    settings = MessageSettings.of(
        message_port=0,
        message_folder=str(tmp_path / "state"),
        message_channels_file=str(write_channels(tmp_path, gateway, window=1)),
        vip=cluster.reports.address,
    )
    background = Background()
    port = await MessagePort.start(settings, ServingSettings(), "127.0.0.1", background)
    yield FastTree(tmp_path / "here", dataclasses.replace(cluster.endpoints, messages=f"127.0.0.1:{port.port}"))
    gateway.open.set()
    await port.stop(0.0)
    await background.stop()


async def test_preview(fasttree: FastTree, cluster: FakeCluster) -> None:
    ran = await fasttree("message", "preview", "m0", *TEMPLATE, "--min", "level", "1", "--is", "status", "A")
    assert ran.code == 0, ran.err
    assert "m0         Hello m0: 0.00" in ran.out
    assert "5 letters at 0.0450 each: 0.2250\nas of import 1, position 7" in ran.out
    request = cluster.reports.last_request
    assert (request.filter.min_level, list(request.filter.statuses)) == (1, ["A"])
    ran = await fasttree("--json", "message", "preview", *TEMPLATE, "--column", "country", "--sample", "1")
    assert (ran.json["recipients"], ran.json["cost"]) == (5, "0.2250")
    assert ran.json["sample"] == [
        {"member_id": "m0", "text": "Hello m0: 0.00", "columns": {"country": "CH"}, "attempts": 0, "reason": ""}
    ]


async def test_send_status_and_list(fasttree: FastTree, gateway: Gateway) -> None:
    ran = await fasttree("message", "send", "m0", "--id", "autumn", *TEMPLATE)
    assert (ran.code, ran.out) == (
        0, "message autumn is taken: gathering\nNext: fasttree message status autumn\n"
    ), ran.err  # fmt: skip
    ran = await fasttree("message", "status", "autumn", "--wait")
    assert ran.out.startswith("autumn: done; 5 of 5 letters sent\n"), ran.err
    assert gateway.keys == {f"autumn/m{index}": 1 for index in range(5)}
    ran = await fasttree("message", "send", "m0", "--id", "autumn", *TEMPLATE)
    assert "is taken (it was taken before): done" in ran.out
    ran = await fasttree("message", "list")
    assert ran.out.splitlines()[1].split() == ["autumn", "sms", "done", "5", "5", "0", "0", "0"]
    ran = await fasttree("message", "status", "autumn", "--json")
    assert ran.json["letters"] == {"total": 5, "waiting": 0, "under_way": 0, "sent": 5, "dead": 0, "opted_out": 0}
    assert ran.json["as_of"]["position"] == 7


async def test_pause_resume_cancel(fasttree: FastTree, gateway: Gateway) -> None:
    gateway.open.clear()
    await fasttree("message", "send", "--id", "autumn", *TEMPLATE)
    await until(lambda: gateway.waiting == 1, "the first letter")
    ran = await fasttree("message", "pause", "autumn")
    assert ran.out.startswith("autumn: paused; 0 of 5 letters sent, 5 not sent"), ran.err
    ran = await fasttree("message", "resume", "autumn", "--json")
    assert ran.json["state"] == "sending"
    ran = await fasttree("message", "cancel", "autumn")
    assert ran.out.startswith("autumn: cancelled; ")
    gateway.open.set()
    ran = await fasttree("message", "pause", "autumn")
    assert (ran.code, ran.err) == (1, "error: message autumn is cancelled: it can't be paused\n")


async def test_dead_letters_and_opt_outs(fasttree: FastTree, gateway: Gateway) -> None:
    gateway.reply = lambda letter, time_: web.Response(status=422, text="no phone")
    ran = await fasttree("message", "opt-out", "m1", "m2", "--channel", "sms")
    assert ran.out == "2 members want no messages, 2 of them newly\n", ran.err
    ran = await fasttree("message", "opt-out", "m2", "--channel", "sms", "--undo", "--json")
    assert ran.json == {"members": 1, "changed": 1}
    ran = await fasttree("message", "opt-out")
    assert ran.out.splitlines()[1].split() == ["m1", "sms", "here"]
    await fasttree("message", "send", "--id", "autumn", *TEMPLATE)
    ran = await fasttree("message", "status", "autumn", "--wait")
    assert ran.out.startswith("autumn: done; 0 of 5 letters sent, 4 dead, 1 opted out")
    ran = await fasttree("message", "dead", "autumn")
    assert "m0                1  422 Unprocessable Entity: no phone  Hello m0: 0.00" in ran.out
    gateway.reply = lambda letter, time_: web.Response()
    ran = await fasttree("message", "dead", "autumn", "m0", "--resend")
    assert ran.out == "1 letter waits again\n", ran.err
    ran = await fasttree("message", "dead", "autumn", "--resend", "--json")
    assert ran.json["resent"] == 3
    ran = await fasttree("message", "status", "autumn", "--wait")
    assert ran.out.startswith("autumn: done; 4 of 5 letters sent, 1 opted out")


def one_line(ran: Ran, code: int, expected: str) -> None:
    assert ran.code == code, ran.out
    assert expected in ran.err
    assert len(ran.err.splitlines()) == 1


async def test_what_can_not_be_is_one_line(fasttree: FastTree, tmp_path: Path) -> None:
    send = ("message", "send", "--id", "autumn")
    template = ("--template", "x")
    (tmp_path / "latin").write_bytes("für {member_id}".encode("latin-1"))
    for arguments, code, expected in (
        ((*send, "--channel", "sms"), 2, "--template or by --template-file"),
        ((*send, "--channel", "sms", "--template-file", str(tmp_path / "no")), 1, "No such file"),
        ((*send, "--channel", "sms", "--template-file", str(tmp_path / "latin")), 1, "save it as UTF-8"),
        ((*send, "--channel", "fax", *template), 1, '--channel: there is no channel "fax": sms, voice'),
        ((*send, "--channel", "sms", "--template", "{contry}"), 1, "--template: there is no column"),
        ((*send, "--channel", "sms", "--template", "{"), 1, "--template: character 1"),
        ((*send, "--channel", "sms", *template, "--quiet", "9-10", "--time-zone", "UTC"), 2, "write it as 21:00-08:00"),
        ((*send, "--channel", "sms", *template, "--quiet", "21:00-08:00"), 2, "go together"),
        ((*send, "--channel", "sms", *template, "--quiet", "21:00-08:00", "--time-zone", "Mars/X"), 1, "--time-zone: "),
        ((*send, "--channel", "sms", *template, "--not-before", "2026-11-30"), 2, "names no time zone"),
        ((*send, "--channel", "sms", *template, "--not-before", "soon"), 2, "is no time"),
        ((*send, "--channel", "sms", *template, "--not-before", "9999-12-31T23:59-23:59"), 2, "after every time"),
        ((*send, "--channel", "sms", *template, "--not-before", "0001-01-01T00:00+01:00"), 2, "before or after"),
        ((*send, "--channel", "sms", *template, "--limit-a-minute", "-1"), 2, "--limit-a-minute"),
        ((*send, "--channel", "sms", *template, "--column", "phone"), 1, "--column: there is no column"),
        (("message", "send", "--id", "a b", "--channel", "sms", *template), 1, "--id: message_id"),
        (("message", "status", "winter"), 1, "there is no message winter"),
        (("message", "dead", "autumn", "m1"), 2, "give --resend too"),
        (("message", "opt-out", "--undo"), 2, "Name members"),
        (("message", "opt-out", "m1", "--channel", "fax"), 1, "no channel"),
    ):
        one_line(await fasttree(*arguments), code, expected)


async def test_a_cluster_that_takes_no_messages_is_told(cluster: FakeCluster, tmp_path: Path) -> None:
    ran = await FastTree(tmp_path, cluster.endpoints)("message", "list")
    one_line(
        ran,
        1,
        "the endpoints file names no messages: they are sent where the service for DataTrax has a file of channels",
    )
