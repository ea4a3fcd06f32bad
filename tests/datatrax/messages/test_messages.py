"""MessageService over real gRPC: what is asked for, and what comes of it at a gateway."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web

from fasttree.v1 import message_pb2, report_pb2, types_pb2
from services.shared.serving.errors import NotFoundError
from tests.datatrax.messages.conftest import Service
from tests.datatrax.messages.gateway import Gateway
from tests.fakes.reports import FakeReports
from tests.waiting import until

pb = message_pb2


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_preview_counts_shows_and_says_what_it_costs_and_keeps_nothing(service: Service) -> None:
    stub = await service.stub()
    await stub.SetOptOuts(pb.SetOptOutsRequest(member_ids=["m1"], channel="sms"))
    await stub.SetOptOuts(pb.SetOptOutsRequest(member_ids=["m2"], channel="voice"))
    message = service.message("", columns=["country"])
    answer = await stub.PreviewMessage(pb.PreviewMessageRequest(message=message, sample_size=2))
    assert (answer.audience, answer.opted_out, answer.recipients) == (5, 1, 4)
    assert (answer.price, answer.cost) == ("0.0450", "0.1800")
    assert [each.text for each in answer.sample] == ["Hello m0, your PV is 0.00.", "Hello m2, your PV is 2.00."]
    assert dict(answer.sample[0].columns) == {"country": "CH"}
    assert answer.as_of.position == 7
    assert not (await stub.ListMessages(pb.ListMessagesRequest())).messages
    assert not service.gateway.letters


async def test_each_member_gets_one_letter_and_the_status_says_so(service: Service, reports: FakeReports) -> None:
    reports.columns.append(report_pb2.ColumnDescription(name="phone", type=report_pb2.COLUMN_TYPE_TEXT))
    reports.members[3].columns["phone"] = "+41 44 000 00 00"
    answer = await service.send(service.message(columns=["phone"]))
    assert not answer.duplicate
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert (status.counts.total, status.counts.sent, status.counts.waiting) == (5, 5, 0)
    assert status.as_of.position == 7
    assert status.HasField("finished_at")
    assert service.gateway.keys == {f"autumn/m{index}": 1 for index in range(5)}
    letter = next(each for each in service.gateway.letters if each["member_id"] == "m3")
    assert letter == {
        "key": "autumn/m3", "message_id": "autumn", "member_id": "m3", "channel": "sms",
        "text": "Hello m3, your PV is 3.00.", "columns": {"phone": "+41 44 000 00 00"},
    }  # fmt: skip
    again = await service.send(service.message(columns=["phone"]))
    assert again.duplicate
    assert again.status.state == pb.MESSAGE_STATE_DONE
    error = await refused(service.send(service.message(columns=["phone"], template="Other")))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert len(service.gateway.letters) == 5


async def test_the_filter_and_the_columns_go_to_the_report(service: Service, reports: FakeReports) -> None:
    audience = pb.Audience(
        member_id="m1",
        options=report_pb2.ReportOptions(tree=types_pb2.TREE_PLACEMENT, min_position=5),
        filter=report_pb2.DownlineFilter(min_level=1, statuses=["A"]),
    )
    await service.send(service.message(audience=audience, template="{country} {kind} {gv}"))
    await service.reaches(pb.MESSAGE_STATE_DONE)
    request = reports.last_request
    assert request.member_id == "m1"
    assert list(request.options.columns) == ["member_id", "country", "kind", "gv"]
    assert (request.options.tree, request.options.min_position) == (types_pb2.TREE_PLACEMENT, 5)
    assert request.filter == audience.filter
    assert service.gateway.letters[0]["text"] == "CH distributor 1.50"


@pytest.mark.parametrize(
    ("fields", "field", "expected"),
    [
        ({"message_id": "a/b"}, "message_id", "A-Z a-z 0-9"),
        ({"message_id": ".hidden"}, "message_id", "no point first"),
        ({"message_id": "x" * 65}, "message_id", "1 to 64"),
        ({"channel": "fax"}, "channel", 'no channel "fax": sms, voice'),
        ({"template": ""}, "template", "1 to 4,096"),
        ({"template": "x" * 4_097}, "template", "4,097 characters"),
        ({"template": "Hello {first"}, "template", "character 7: { is alone"),
        ({"template": "Hello }"}, "template", "character 7: } is alone"),
        ({"template": "Hello {}"}, "template", "names no column"),
        ({"template": "{contry}"}, "template", "did you mean country"),
        ({"template": "{volumes}"}, "template", "no column"),
        ({"columns": ["phone"]}, "columns", 'no column "phone"'),
        ({"columns": ["country", "country"]}, "columns", "twice"),
        ({"columns": [f"c{index}" for index in range(33)]}, "columns", "32 at most"),
        (
            {"audience": pb.Audience(options=report_pb2.ReportOptions(columns=["pv"]))},
            "audience.options.columns", "must be empty",
        ),
        ({"limit_a_minute": 1_000_001}, "limit_a_minute", "1,000,000 at most"),
        ({"quiet_hours": {"from": "9:00", "to": "08:00", "time_zone": "UTC"}}, "quiet_hours.from", "write it as 21:00"),
        ({"quiet_hours": {"from": "08:00", "to": "24:00", "time_zone": "UTC"}}, "quiet_hours.to", "no time of the day"),
        ({"quiet_hours": {"from": "08:00", "to": "08:00", "time_zone": "UTC"}}, "quiet_hours.to", "leave them out"),
        (
            {"quiet_hours": {"from": "21:00", "to": "08:00", "time_zone": "../etc/passwd"}},
            "quiet_hours.time_zone", "America/Denver",
        ),
        (
            {"quiet_hours": {"from": "21:00", "to": "08:00", "time_zone": "America/Dever"}},
            "quiet_hours.time_zone", "no time zone",
        ),
        ({"not_before": {"seconds": -5}}, "not_before", "no time"),
    ],
)  # fmt: skip
async def test_what_can_not_be_is_refused_before_anything_is_sent(
    service: Service, fields: dict[str, Any], field: str, expected: str
) -> None:
    if quiet := fields.pop("quiet_hours", None):
        fields["quiet_hours"] = pb.QuietHours(**quiet)
    error = await refused(service.send(service.message(**fields)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert expected in str(error.details())
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert field.encode() in details
    assert not (await (await service.stub()).ListMessages(pb.ListMessagesRequest())).messages


async def test_an_audience_that_there_is_not_is_refused_as_the_node_refuses_it(
    service: Service, reports: FakeReports
) -> None:
    reports.refusal = NotFoundError("no member 7", field="member_id", value="7", reason="MEMBER_UNKNOWN")
    error = await refused(service.send())
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no member 7")
    stub = await service.stub()
    assert not (await stub.ListMessages(pb.ListMessagesRequest())).messages
    error = await refused(stub.GetMessage(pb.GetMessageRequest(message_id="autumn")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_an_audience_that_is_gone_or_too_large_fails_and_nothing_is_sent(
    service: Service, reports: FakeReports
) -> None:
    service.settings["message_recipients_max"] = 4
    await service.send()
    status = await service.reaches(pb.MESSAGE_STATE_FAILED)
    assert "more than 4 members" in status.reason
    assert not service.gateway.letters
    error = await refused((await service.stub()).PauseMessage(pb.PauseMessageRequest(message_id="autumn")))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION, "message autumn is failed: it can't be paused",
    )  # fmt: skip


async def test_a_report_that_breaks_off_is_asked_for_again_from_its_beginning(
    service: Service, reports: FakeReports
) -> None:
    reports.break_stream = True
    await service.send()

    async def is_told() -> bool:
        return "broke off" in (await service.status()).reason

    await until(is_told, "the broken report")
    assert not service.gateway.letters
    reports.break_stream = False
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert status.counts.sent == 5
    assert set(service.gateway.keys.values()) == {1}


async def test_refused_letters_are_dead_others_are_tried_again_and_the_dead_are_resent(service: Service) -> None:
    def reply(letter: dict[str, Any], time_: int) -> web.Response:
        if letter["member_id"] == "m1":
            return web.Response(status=422, text="no such phone")
        if letter["member_id"] == "m2":
            return web.Response(status=503, headers={"Retry-After": "0"})
        return web.Response(status=500 if time_ < 3 else 200)

    service.channel_settings["attempts_max"] = 4
    service.gateway.reply = reply
    await service.send()
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert (status.counts.sent, status.counts.dead) == (3, 2)
    stub = await service.stub()
    dead = (await stub.ListDeadLetters(pb.ListDeadLettersRequest(message_id="autumn", page_size=1))).letters
    assert [(each.member_id, each.attempts, each.reason, each.text) for each in dead] == [
        ("m1", 1, "422 Unprocessable Entity: no such phone", "Hello m1, your PV is 1.00."),
    ]
    page = await stub.ListDeadLetters(pb.ListDeadLettersRequest(message_id="autumn", page_size=1, page_token="2"))
    assert [(each.member_id, each.attempts) for each in page.letters] == [("m2", 4)]
    assert not page.next_page_token
    assert service.gateway.keys == {
        "autumn/m0": 3, "autumn/m1": 1, "autumn/m2": 4, "autumn/m3": 3, "autumn/m4": 3
    }  # fmt: skip

    service.gateway.reply = lambda letter, time_: web.Response()
    answer = await stub.ResendDeadLetters(pb.ResendDeadLettersRequest(message_id="autumn", member_ids=["m2", "m3"]))
    assert answer.letters == 1
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert (status.counts.sent, status.counts.dead) == (4, 1)
    answer = await stub.ResendDeadLetters(pb.ResendDeadLettersRequest(message_id="autumn"))
    assert answer.letters == 1
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert (status.counts.sent, status.counts.dead) == (5, 0)
    answer = await stub.ResendDeadLetters(pb.ResendDeadLettersRequest(message_id="autumn"))
    assert (answer.letters, answer.status.state) == (0, pb.MESSAGE_STATE_DONE)


async def test_pause_resume_and_cancel(service: Service) -> None:
    service.channel_settings["window"] = 1
    service.gateway.open.clear()
    await service.send()
    await until(lambda: service.gateway.waiting == 1, "the first letter")
    stub = await service.stub()
    paused = (await stub.PauseMessage(pb.PauseMessageRequest(message_id="autumn"))).status
    assert (paused.state, paused.counts.under_way) == (pb.MESSAGE_STATE_PAUSED, 1)
    service.gateway.open.set()

    await until(lambda: sent_is(service, 1), "what was with its sender")
    assert len(service.gateway.letters) == 1
    service.gateway.open.clear()
    resumed = (await stub.ResumeMessage(pb.ResumeMessageRequest(message_id="autumn"))).status
    assert resumed.state == pb.MESSAGE_STATE_SENDING
    await until(lambda: service.gateway.waiting == 1, "the second letter")
    cancelled = (await stub.CancelMessage(pb.CancelMessageRequest(message_id="autumn"))).status
    assert cancelled.state == pb.MESSAGE_STATE_CANCELLED
    service.gateway.open.set()
    await until(lambda: sent_is(service, 2), "what was with its sender")
    assert (await service.status()).counts.waiting == 3
    assert len(service.gateway.letters) == 2
    again = await stub.CancelMessage(pb.CancelMessageRequest(message_id="autumn"))
    assert again.status.state == pb.MESSAGE_STATE_CANCELLED
    error = await refused(stub.ResendDeadLetters(pb.ResendDeadLettersRequest(message_id="autumn")))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def sent_is(service: Service, count: int) -> bool:
    return (await service.status()).counts.sent == count


async def test_not_before_its_time_and_a_limit(service: Service) -> None:
    message = service.message()
    message.not_before.FromSeconds(int(time.time()) + 3_600)
    await service.send(message)

    async def waits() -> bool:
        return (await service.status()).HasField("waits_until")

    await until(waits, "the message to wait")
    status = await service.status()
    assert status.state == pb.MESSAGE_STATE_SENDING
    assert abs(status.waits_until.ToSeconds() - message.not_before.ToSeconds()) < 2
    assert not service.gateway.letters
    await service.send(service.message("slow", limit_a_minute=600))
    await service.reaches(pb.MESSAGE_STATE_DONE, "slow")
    assert len(service.gateway.letters) == 5


async def test_no_more_messages_are_open_than_may_be(service: Service) -> None:
    service.settings["messages_open_max"] = 1
    service.gateway.open.clear()
    await service.send()
    error = await refused(service.send(service.message("winter")))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "messages_open_max" in str(error.details())
    service.gateway.open.set()
    await service.reaches(pb.MESSAGE_STATE_DONE)
    await service.send(service.message("winter"))


async def test_messages_are_listed_the_newest_first_and_of_old_ones_only_the_counts_stay(service: Service) -> None:
    service.settings["messages_kept"] = 1
    service.gateway.reply = lambda letter, time_: web.Response(status=422)
    stub = await service.stub()
    for name in ("one", "two", "three"):
        await service.send(service.message(name))
        await service.reaches(pb.MESSAGE_STATE_DONE, name)
    page = await stub.ListMessages(pb.ListMessagesRequest(page_size=2))
    assert [each.message.message_id for each in page.messages] == ["three", "two"]
    page = await stub.ListMessages(pb.ListMessagesRequest(page_size=2, page_token=page.next_page_token))
    assert [each.message.message_id for each in page.messages] == ["one"]
    assert not page.next_page_token
    assert page.messages[0].counts.dead == 5
    assert not (await stub.ListDeadLetters(pb.ListDeadLettersRequest(message_id="one"))).letters
    assert len((await stub.ListDeadLetters(pb.ListDeadLettersRequest(message_id="three"))).letters) == 5
    assert (await service.send(service.message("one"))).duplicate
    error = await refused(stub.ListMessages(pb.ListMessagesRequest(page_token="x")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = await refused(stub.ListMessages(pb.ListMessagesRequest(page_size=1_001)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_hits_are_logged_without_what_the_members_are_told(service: Service, tmp_path: Path) -> None:
    service.gateway.reply = lambda letter, time_: web.Response(
        status=422 if letter["member_id"] == "m1" else 200, text=f"for {letter['text']}"
    )
    await service.send(service.message(columns=["country"]))
    await service.reaches(pb.MESSAGE_STATE_DONE)
    lines = (tmp_path / "state/htelevox.log").read_text().splitlines()
    assert len(lines) == 5
    assert any(" sms autumn/m1 refused: 422 Unprocessable Entity in " in line for line in lines)
    assert any(" sms autumn/m2 taken: 200 in " in line for line in lines)
    assert not [line for line in lines if "Hello" in line or "CH" in line]


async def test_a_channel_of_a_file_gets_a_line_for_each_letter_and_a_marker_at_the_end(
    service: Service, tmp_path: Path
) -> None:
    await service.send(service.message(channel="voice"))
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert status.counts.sent == 5
    lines = [json.loads(line) for line in (tmp_path / "voice/autumn.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == [f"autumn/m{index}" for index in range(5)]
    assert lines[2]["text"] == "Hello m2, your PV is 2.00."
    assert (tmp_path / "voice/autumn.jsonl.done").exists()


async def test_a_text_that_is_too_long_is_a_dead_letter(service: Service, reports: FakeReports) -> None:
    reports.members[1].columns["country"] = "x" * 5_001
    await service.send(service.message(template="{country}{country}"))
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert (status.counts.sent, status.counts.dead) == (4, 1)
    dead = (await (await service.stub()).ListDeadLetters(pb.ListDeadLettersRequest(message_id="autumn"))).letters
    assert dead[0].reason == "the text has 10,002 characters, more than 10,000"


async def test_while_no_node_answers_what_was_taken_is_still_known(
    service: Service, reports: FakeReports, gateway: Gateway
) -> None:
    await service.send()
    await service.reaches(pb.MESSAGE_STATE_DONE)
    await reports.stop()
    assert (await service.send()).duplicate
