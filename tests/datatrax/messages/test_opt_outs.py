"""Who wants no messages gets none: by the API and by a file, also of a message under way."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from fasttree.v1 import message_pb2
from tests.datatrax.messages.conftest import Service
from tests.waiting import until

pb = message_pb2


async def test_who_opts_out_while_a_message_is_under_way_gets_none(service: Service) -> None:
    service.channel_settings["window"] = 1
    service.gateway.open.clear()
    await service.send()
    await until(lambda: service.gateway.waiting == 1, "the first letter")
    stub = await service.stub()
    answer = await stub.SetOptOuts(pb.SetOptOutsRequest(member_ids=["m2", "m3"]))
    assert answer.changed == 2
    await stub.SetOptOuts(pb.SetOptOutsRequest(member_ids=["m4"], channel="voice"))
    service.gateway.open.set()
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert (status.counts.sent, status.counts.opted_out) == (3, 2)
    assert set(service.gateway.keys) == {"autumn/m0", "autumn/m1", "autumn/m4"}
    found = (await stub.ListOptOuts(pb.ListOptOutsRequest())).opt_outs
    assert [(each.member_id, each.channel) for each in found] == [("m2", ""), ("m3", ""), ("m4", "voice")]
    page = await stub.ListOptOuts(pb.ListOptOutsRequest(page_size=2))
    rest = await stub.ListOptOuts(pb.ListOptOutsRequest(page_size=2, page_token=page.next_page_token))
    assert [each.member_id for each in rest.opt_outs] == ["m4"]
    assert not rest.next_page_token
    answer = await stub.SetOptOuts(pb.SetOptOutsRequest(member_ids=["m2", "m9"], opted_in=True))
    assert answer.changed == 1
    await service.send(service.message("winter"))
    await service.reaches(pb.MESSAGE_STATE_DONE, "winter")
    assert "winter/m2" in service.gateway.keys


async def test_who_opts_out_is_not_tried_again(service: Service) -> None:
    service.gateway.open.clear()
    service.gateway.reply = lambda letter, time_: web.Response(status=500 if letter["member_id"] == "m1" else 200)
    await service.send()
    await until(lambda: service.gateway.waiting == 5, "the letters")
    await (await service.stub()).SetOptOuts(pb.SetOptOutsRequest(member_ids=["m1"]))
    service.gateway.open.set()
    status = await service.reaches(pb.MESSAGE_STATE_DONE)
    assert (status.counts.sent, status.counts.opted_out) == (4, 1)
    assert service.gateway.keys["autumn/m1"] == 1


async def test_the_file_of_opt_outs_counts_and_a_changed_one_too(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "opt-outs"
    file.write_text("# who wants none\nm1\nm2\tsms\nm3\tvoice\n\n")
    service.settings["message_opt_outs_file"] = str(file)
    await service.send()
    await service.reaches(pb.MESSAGE_STATE_DONE)
    assert set(service.gateway.keys) == {"autumn/m0", "autumn/m3", "autumn/m4"}
    stub = await service.stub()
    await stub.SetOptOuts(pb.SetOptOutsRequest(member_ids=["m1"], opted_in=True))
    file.write_text("m1\n\nm 3\n nonsense\tfax")
    assert service.port is not None
    port = service.port
    await until(lambda: "line 4: " in port.problem, "the fault to be told")
    await service.send(service.message("winter"))
    await service.reaches(pb.MESSAGE_STATE_DONE, "winter")
    assert {key for key in service.gateway.keys if key.startswith("winter")} == {"winter/m0", "winter/m3", "winter/m4"}
    file.write_text("m0\n")
    await until(lambda: not port.problem, "the good file")
    await service.send(service.message("spring"))
    await service.reaches(pb.MESSAGE_STATE_DONE, "spring")
    assert {key for key in service.gateway.keys if key.startswith("spring")} == {
        f"spring/m{each}" for each in range(1, 5)
    }
