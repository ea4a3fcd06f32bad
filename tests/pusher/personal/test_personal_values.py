"""Personal values at a pusher: no record has them, an erasure leaves nothing, and nodes hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, types_pb2
from services.pusher.app import Pusher
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.personal.tokens import is_token
from tests.pusher.running_pusher import push, running_pusher, stub_of

if TYPE_CHECKING:
    Stub = pusher_pb2_grpc.PusherServiceAsyncStub

PHONE, SHIRT = "+46 70 111 22 33", "XL"


def declared(name: str, *, personal: bool = True) -> types_pb2.Update:
    change = types_pb2.ColumnDeclared(name=name, type="text", personal=personal)
    return types_pb2.Update(update_id=f"declare-{name}", column_declared=change)


def enrolled(member_id: str, phone: str = PHONE, update_id: str = "") -> types_pb2.Update:
    change = types_pb2.MemberEnrolled(member_id=member_id, columns={"phone": phone, "shirt": SHIRT})
    return types_pb2.Update(update_id=update_id or f"enrol-{member_id}", member_enrolled=change)


@pytest.fixture
async def pusher(tmp_path: Path) -> AsyncIterator[Pusher]:
    async with running_pusher(tmp_path) as running:
        yield running


@pytest.fixture
async def stub(pusher: Pusher) -> AsyncIterator[Stub]:
    async with stub_of(pusher) as found:
        await push(found, [declared("phone"), declared("shirt", personal=False)])
        yield found


async def records(stub: Stub, first: int = 1) -> list[types_pb2.Update]:
    end = (await stub.GetPusher(pusher_pb2.GetPusherRequest())).log_end.position
    request = pusher_pb2.ReadLogRequest(first_position=first, last_position=end)
    return [types_pb2.Update.FromString(each.update) async for part in stub.ReadLog(request) for each in part.records]


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def test_the_log_has_tokens_and_the_vault_the_values(stub: Stub) -> None:
    receipts = await push(stub, [enrolled("a"), enrolled("a")])
    assert [(each.code, each.duplicate) for each in receipts] == [(0, False), (0, True)]
    columns = (await records(stub))[-1].member_enrolled.columns
    assert (is_token(columns["phone"]), columns["shirt"]) == (True, SHIRT)
    answer = await stub.ReadPersonal(pusher_pb2.ReadPersonalRequest(node="n1"))
    assert [(each.member_id, each.token, each.value) for each in answer.changes] == [("a", columns["phone"], PHONE)]
    conflict = (await push(stub, [enrolled("a", "another")]))[0]
    assert conflict.code == grpc.StatusCode.ALREADY_EXISTS.value[0]


async def test_whoever_writes_a_token_himself_sees_nobody_s_value(stub: Stub) -> None:
    await push(stub, [enrolled("a")])
    token = (await records(stub))[-1].member_enrolled.columns["phone"]
    await push(stub, [enrolled("b", token)])
    again = (await records(stub))[-1].member_enrolled.columns["phone"]
    assert is_token(again)
    assert again != token


async def test_an_erasure_is_a_record_and_no_file_has_the_values(pusher: Pusher, stub: Stub, tmp_path: Path) -> None:
    await push(stub, [enrolled("a"), enrolled("b", "+46 70 999")])
    copy = await stub.ReadPersonal(pusher_pb2.ReadPersonalRequest(node="n1"))
    assert PHONE.encode() in _bytes_of(tmp_path)
    asked = pusher_pb2.EraseMemberRequest(member_id="a")
    answer = await stub.EraseMember(asked)
    assert PHONE.encode() not in _bytes_of(tmp_path)
    assert b"+46 70 999" in _bytes_of(tmp_path)
    last = (await records(stub, answer.position))[-1]
    assert (answer.values, last.member_erased.member_id) == (1, "a")
    assert last.update_id.startswith(f"{OWN_ID_PREFIX}erased-")
    again = await stub.EraseMember(asked)
    assert (again.values, again.position) == (0, answer.position + 1)
    news = await stub.ReadPersonal(pusher_pb2.ReadPersonalRequest(node="n1", vault_id=copy.vault_id, after=copy.last))
    assert [(each.member_id, each.token, each.value) for each in news.changes] == [("a", "", "")]
    found = await stub.GetErasure(pusher_pb2.GetErasureRequest(member_id="a"))
    assert (found.position, found.values_since) == (again.position, 0)


async def test_a_node_that_has_everything_waits_for_more(stub: Stub) -> None:
    await push(stub, [enrolled("a")])
    copy = await stub.ReadPersonal(pusher_pb2.ReadPersonalRequest(node="n1"))
    asked = pusher_pb2.ReadPersonalRequest(node="n1", vault_id=copy.vault_id, after=copy.last)
    waiting = asyncio.ensure_future(stub.ReadPersonal(asked))
    await push(stub, [enrolled("b", "+46 70 222")])
    assert [each.value for each in (await waiting).changes] == ["+46 70 222"]


async def test_what_can_t_be_is_refused_in_words(stub: Stub) -> None:
    own = types_pb2.Update(update_id="x", member_erased=types_pb2.MemberErased(member_id="a"))
    assert "use `fasttree erase`" in (await push(stub, [own]))[0].message
    wrong = await refusal(stub.EraseMember(pusher_pb2.EraseMemberRequest(member_id="")))
    assert wrong[0] is grpc.StatusCode.INVALID_ARGUMENT
    nobody = await refusal(stub.GetErasure(pusher_pb2.GetErasureRequest(member_id="z")))
    assert nobody[0] is grpc.StatusCode.NOT_FOUND
    other = pusher_pb2.ReadPersonalRequest(node="n1", vault_id="another", after=1)
    assert (await refusal(stub.ReadPersonal(other)))[0] is grpc.StatusCode.FAILED_PRECONDITION
    await push(stub, [enrolled("a")])
    vault_id = (await stub.ReadPersonal(pusher_pb2.ReadPersonalRequest(node="n1"))).vault_id
    for after in (1_000, 2**64 - 1):
        ahead = pusher_pb2.ReadPersonalRequest(node="n1", vault_id=vault_id, after=after)
        assert (await refusal(stub.ReadPersonal(ahead)))[0] is grpc.StatusCode.OUT_OF_RANGE


async def test_without_personal_columns_there_is_nothing_to_erase_and_no_file(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as running, stub_of(running) as stub:
        code, text = await refusal(stub.EraseMember(pusher_pb2.EraseMemberRequest(member_id="a")))
        assert (code, "no column is personal" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        await push(stub, [declared("phone", personal=False), declared("shirt", personal=False), enrolled("a")])
        assert (await records(stub))[-1].member_enrolled.columns["phone"] == PHONE
    assert not (tmp_path / "personal.db").exists()


async def test_an_erasure_that_a_crash_kept_from_the_log_comes_into_it(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as running, stub_of(running) as stub:
        await push(stub, [declared("phone"), declared("shirt", personal=False), enrolled("a")])
        await running.personal._with(lambda vault: vault.erase("a", f"{OWN_ID_PREFIX}erased-{'0' * 32}"))
    async with running_pusher(tmp_path) as running, stub_of(running) as stub:
        asked = pusher_pb2.ReadLogRequest(first_position=5)  # follows the log
        async with asyncio.timeout(60.0):
            part = await anext(aiter(stub.ReadLog(asked)))
        assert types_pb2.Update.FromString(part.records[0].update).member_erased.member_id == "a"


async def test_what_is_sent_again_after_an_erasure_is_a_repeat_and_brings_nothing_back(
    stub: Stub, tmp_path: Path
) -> None:
    change = types_pb2.MemberChanged(member_id="a", columns={"phone": "+46 70 222"})
    updates = [enrolled("a"), types_pb2.Update(update_id="change", member_changed=change)]
    first = await push(stub, updates)
    await stub.EraseMember(pusher_pb2.EraseMemberRequest(member_id="a"))
    again = await push(stub, updates)
    assert [(each.code, each.duplicate, each.position) for each in again] == [
        (0, True, each.position) for each in first
    ]
    assert not any(value in _bytes_of(tmp_path) for value in (PHONE.encode(), b"+46 70 222"))
    other = enrolled("a")
    other.member_enrolled.columns["shirt"] = "S"
    assert (await push(stub, [other]))[0].code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    assert PHONE.encode() not in _bytes_of(tmp_path)


async def test_what_the_log_refuses_is_not_kept(stub: Stub, tmp_path: Path) -> None:
    (first,) = await push(stub, [enrolled("a")])
    conflict, repeat = await push(stub, [enrolled("a", "+46 70 333"), enrolled("a")])
    assert (conflict.code, repeat.duplicate) == (grpc.StatusCode.ALREADY_EXISTS.value[0], True)
    twice = await push(stub, [enrolled("b", "+46 70 444", "b"), enrolled("b", "+46 70 555", "b")])
    assert [each.code for each in twice] == [0, grpc.StatusCode.ALREADY_EXISTS.value[0]]
    kept = _bytes_of(tmp_path)
    assert [value in kept for value in (b"+46 70 333", b"+46 70 444", b"+46 70 555")] == [False, True, False]
    assert first.position


async def test_a_column_is_personal_from_its_record_on_within_one_message(pusher: Pusher, tmp_path: Path) -> None:
    async with stub_of(pusher) as stub:
        receipts = await push(stub, [declared("shirt", personal=False), declared("phone"), enrolled("a")])
        assert [each.code for each in receipts] == [0, 0, 0]
        assert is_token((await records(stub))[-1].member_enrolled.columns["phone"])
    assert {file.name for file in tmp_path.rglob("*") if file.is_file() and PHONE.encode() in file.read_bytes()} == {
        "personal.db"
    }


async def test_what_was_pushed_before_a_column_became_personal_is_a_repeat_after_it(pusher: Pusher) -> None:
    async with stub_of(pusher) as stub:
        updates = [declared("shirt", personal=False), declared("phone", personal=False), enrolled("a")]
        first = await push(stub, updates)
        await push(stub, [types_pb2.Update(update_id="mark", column_declared=declared("phone").column_declared)])
        (again,) = await push(stub, updates[2:])
        assert (again.code, again.duplicate, again.position) == (0, True, first[2].position)
        assert pusher.personal.vault.opened().values_of("a") == 0


async def test_a_column_in_other_letters_is_as_personal(stub: Stub) -> None:
    change = types_pb2.MemberChanged(member_id="a", columns={"PHONE": PHONE})
    await push(stub, [types_pb2.Update(update_id="x", member_changed=change)])
    assert is_token((await records(stub))[-1].member_changed.columns["PHONE"])


async def test_a_name_of_the_same_meaning_is_as_personal(stub: Stub) -> None:
    marked = types_pb2.Update(update_id="declare", column_declared=declared("Straße").column_declared)
    assert [each.code for each in await push(stub, [marked])] == [0]
    change = types_pb2.MemberChanged(member_id="a", columns={"STRASSE": "Bahnhofstr. 1", "shirt": SHIRT})
    await push(stub, [types_pb2.Update(update_id="x", member_changed=change)])
    columns = (await records(stub))[-1].member_changed.columns
    assert (is_token(columns["STRASSE"]), columns["shirt"]) == (True, SHIRT)


async def test_erasures_and_updates_at_once_leave_what_the_log_has_behind_each(stub: Stub, tmp_path: Path) -> None:
    """Of a member the vault has the values of those updates that stand behind his newest erasure, and no others."""

    async def change(number: int) -> tuple[int, str]:
        value = f"+46 70 {number:07}"
        made = types_pb2.MemberChanged(member_id="a", columns={"phone": value})
        (receipt,) = await push(stub, [types_pb2.Update(update_id=f"change-{number}", member_changed=made)])
        return receipt.position, value

    async def erase() -> int:
        return (await stub.EraseMember(pusher_pb2.EraseMemberRequest(member_id="a"))).position

    async with asyncio.TaskGroup() as tasks:
        changes, erasures = [], []
        for number in range(120):
            changes.append(tasks.create_task(change(number)))
            if number % 10 == 5:
                erasures.append(tasks.create_task(erase()))
    newest = max(task.result() for task in erasures)
    expected = {value for position, value in (task.result() for task in changes) if position > newest}
    answer = await stub.ReadPersonal(pusher_pb2.ReadPersonalRequest(node="n1"))
    assert {each.value for each in answer.changes if each.token} == expected
    kept = _bytes_of(tmp_path)
    assert {value for _, value in (task.result() for task in changes) if value.encode() in kept} == expected


def _bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
