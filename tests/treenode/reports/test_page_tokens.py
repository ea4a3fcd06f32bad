"""Page tokens: they carry their key, and only with their own request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttree.v1 import report_pb2
from services.shared.serving.errors import InvalidArgumentError
from services.treenode.reports.plan.page_tokens import PageKey, page_token, read_page_token, request_digest

REQUEST = report_pb2.ListDownlineRequest(member_id="A", sort=report_pb2.SortKey(column="pv"))
DIGEST = request_digest(REQUEST)
KEY = PageKey(-5, "text", "M1")


@given(st.none() | st.integers(-(2**63), 2**63 - 1), st.text(max_size=60), st.text(max_size=32))
def test_a_token_carries_its_key(number: int | None, text: str, member_id: str) -> None:
    key = PageKey(number, text, member_id)
    assert read_page_token(page_token(key, DIGEST), DIGEST) == key


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    token = page_token(KEY, DIGEST)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=0x2FF).filter(lambda letter: letter != token[at]))
    with pytest.raises(InvalidArgumentError) as caught:
        read_page_token(token[:at] + other + token[at + 1 :], DIGEST)
    assert (caught.value.reason, caught.value.field) == ("PAGE_TOKEN_INVALID", "page_token")


@pytest.mark.parametrize("token", ["x", "!!!!", "é", "AAAA" * 10, page_token(KEY, DIGEST) + "A"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="page_token is damaged"):
        read_page_token(token, DIGEST)


def test_page_and_position_may_differ_and_nothing_else() -> None:
    same = report_pb2.ListDownlineRequest()
    same.CopyFrom(REQUEST)
    same.page_size, same.page_token, same.options.min_position = 5, "t", 77
    assert request_digest(same) == DIGEST
    for change in (
        report_pb2.ListDownlineRequest(member_id="B"),
        report_pb2.ListDownlineRequest(sort=report_pb2.SortKey(descending=True)),
        report_pb2.ListDownlineRequest(options=report_pb2.ReportOptions(period="2026-10")),
        report_pb2.ListDownlineRequest(filter=report_pb2.DownlineFilter(min_level=1)),
    ):
        other = report_pb2.ListDownlineRequest()
        other.CopyFrom(REQUEST)
        other.MergeFrom(change)
        assert request_digest(other) != DIGEST
    held = report_pb2.ListHeldUpdatesRequest(member_id="A")
    assert request_digest(held) == request_digest(
        report_pb2.ListHeldUpdatesRequest(member_id="A", limit=3, min_position=5, page_token="t")
    )
    assert request_digest(held) != request_digest(report_pb2.ListHeldUpdatesRequest(member_id="B"))
    front_line = report_pb2.ListFrontLineRequest(member_id="A", sort=report_pb2.SortKey(column="pv"))
    assert request_digest(front_line) != DIGEST
