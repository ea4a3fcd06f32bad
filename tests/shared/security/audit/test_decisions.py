"""Whether every call of the API has its decision, and that what is written down tells of no member."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from fasttree.command.certs.policy import calls
from fasttree.v1 import coordinator_pb2, message_pb2, pusher_pb2, types_pb2
from services.shared.security.audit.decisions import NOT_WRITTEN, OPERATIONS, scalars_of, told_of
from services.shared.security.roles import CALLS

MODULES: tuple[Any, ...] = (coordinator_pb2, message_pb2, pusher_pb2)


def test_every_call_is_decided_about() -> None:
    assert OPERATIONS.keys() & NOT_WRITTEN.keys() == set()
    undecided = set(calls()) - (OPERATIONS.keys() | NOT_WRITTEN.keys())
    assert not undecided, f"decide in services/shared/security/audit/decisions.py about {sorted(undecided)}"
    assert OPERATIONS.keys() | NOT_WRITTEN.keys() == set(calls())
    assert all(NOT_WRITTEN.values())


def test_only_people_make_the_calls_that_are_written_down() -> None:
    for role in ("node", "pusher", "coordinator", "vip", "monitor", "reporter", "auditor"):
        assert not OPERATIONS.keys() & set(CALLS[role]), role


def field_of(message: Any, path: str) -> FieldDescriptor:
    descriptor = message.DESCRIPTOR
    for name in path.split("."):
        field: FieldDescriptor = descriptor.fields_by_name[name]
        descriptor = field.message_type
    return field


@pytest.mark.parametrize("path", OPERATIONS)
def test_what_is_written_down_is_there_and_is_no_member_s(path: str) -> None:
    service, _, call = path[1:].partition("/")
    (method,) = [
        method
        for module in MODULES
        for each in module.DESCRIPTOR.services_by_name.values()
        for method in each.methods
        if (each.full_name, method.name) == (service, call)
    ]
    for message, fields in (
        (method.input_type, OPERATIONS[path].asked),
        (method.output_type, OPERATIONS[path].answered),
    ):
        kind = type("Message", (), {"DESCRIPTOR": message})
        for each in fields:
            found = field_of(kind, each)
            assert found.message_type is None, each
            assert not found.is_repeated, each
            assert not {"member_id", "member_ids", "template", "text", "columns"} & set(each.split(".")), each


def test_a_decision_about_a_member_is_told_without_the_member() -> None:
    settled = types_pb2.HeldSettled(action=types_pb2.HELD_ACTION_DROP, member_id="M17", reason="left")
    assert scalars_of(settled) == {"action": types_pb2.HELD_ACTION_DROP, "reason": "left"}
    answer = pusher_pb2.UploadImportResponse(manifest=types_pb2.ImportManifest(import_id=3, as_of_position=9))
    assert told_of(answer, OPERATIONS["/fasttree.v1.PusherService/UploadImport"].answered) == {
        "import_id": 3,
        "as_of_position": 9,
    }
