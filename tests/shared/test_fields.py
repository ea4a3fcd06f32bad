"""Fields of messages that are written by hand, against protobuf."""

from __future__ import annotations

import pytest

from fasttree.v1 import types_pb2
from services.shared.wire.fields import field, tag, varint


@pytest.mark.parametrize("number", [1, 127, 128, 300, 2**21, 2**35, 2**64 - 1])
def test_numbers(number: int) -> None:
    written = tag(types_pb2.Member.DOWNLINE_COUNT_FIELD_NUMBER, is_number=True) + varint(number)
    assert written == types_pb2.Member(downline_count=number).SerializeToString()


@pytest.mark.parametrize("text", ["", "A", "x" * 127, "x" * 128, "ö" * 70_000])
def test_texts(text: str) -> None:
    written = field(types_pb2.Member.STATUS_FIELD_NUMBER, text.encode())
    assert written == types_pb2.Member(status=text).SerializeToString()


def test_a_tag_of_two_bytes() -> None:
    assert tag(16) == bytes((0x82, 0x01))
    assert tag(2047, is_number=True) == bytes((0xF8, 0x7F))
