"""Rows of texts: an order is made by a short way, which must make what the long one makes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fasttree.client import UpdateFormatError, update_from_json
from fasttree.client.forms.row_form import RowForm

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "7", "12.50", "-3", "1e5", "12.505", " 1", "PV", "2026-11", "9" * 30, "\ud800", "\x00"]),
)
FIELDS = ("update_id", "member_id", "amount", "volume_type", "period")


def outcome(make: Any, *given_texts: Any) -> tuple[str, bytes]:
    try:
        return "", make(*given_texts).SerializeToString(deterministic=True)
    except UpdateFormatError as error:
        return str(error), b""


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), TEXTS))
def test_the_short_way_of_orders_makes_what_json_lines_make(texts: dict[str, str]) -> None:
    content = {name: text for name, text in texts.items() if text and name == "update_id"}
    line = content | {"volume_posted": {name: text for name, text in texts.items() if text and name != "update_id"}}
    assert outcome(RowForm("volume_posted").update_of, texts.items()) == outcome(update_from_json, json.dumps(line))
