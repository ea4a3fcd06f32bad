"""Nothing that is printed is obeyed by a terminal, whoever wrote it."""

from __future__ import annotations

import io
import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttree.command.terminal import Plain, on_one_line, unobeyed, write_raw
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster

EVIL = "a\x1b]0;owned\x07\x9b31m\u202eb\u2066\u2028\x7f"
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 👩\u200d👧 می\u200cخواهم", "plain é 漢 👩\u200d👧 می\u200cخواهم"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\x9b31m\u202e", "\\u009b31m\\u202e"),
        (os.fsdecode(b"\xff.csv"), "\\udcff.csv"),
    ],
)
def test_a_value_is_on_one_line(text: str, shown: str) -> None:
    assert on_one_line(text) == shown


@given(st.text() | st.text("a\x1b\x07\r\n\t\x85\x9b\u202e\u2067\u2028\u200d"))
def test_nothing_that_is_written_is_obeyed(text: str) -> None:
    assert _OBEYED.search(unobeyed(text)) is None
    assert "\n" not in on_one_line(text)
    raw = io.BytesIO()
    stream = Plain(raw, encoding="utf-8", newline="")
    stream.write(text)
    stream.writelines([text, text])
    stream.flush()
    assert raw.getvalue().decode() == unobeyed(text) * 3


@given(st.text())
def test_in_json_it_is_the_same_text(text: str) -> None:
    assert json.loads(unobeyed(json.dumps({"text": text}, ensure_ascii=False))) == {"text": text}


def test_data_for_a_file_stays_as_it_is() -> None:
    raw = io.BytesIO()
    stream = Plain(raw, encoding="utf-8", newline="")
    write_raw(stream, EVIL)
    stream.flush()
    assert raw.getvalue().decode() == EVIL


async def test_no_command_prints_what_others_wrote(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.reports.members[0].status = EVIL
    cluster.reports.members[0].columns["country"] = EVIL
    for arguments in (
        ("member", "m0"),
        ("downline", "--columns", "member_id,status,country"),
        ("downline", "--columns", "member_id,status,country", "--json"),
        ("member", f"m{EVIL}"),
        ("import", f"{EVIL}.csv"),
        ("push", f"{EVIL}.jsonl"),
        ("switchover", "--to", f"n{EVIL}"),
        ("--endpoints", f"{EVIL}.json", "status"),
        ("downline", "--no-such-option" + EVIL),
    ):
        ran = await fasttree(*arguments)
        assert ran.out + ran.err
        assert _OBEYED.search(ran.out + ran.err) is None, arguments
    whole = await fasttree("downline", "--columns", "member_id,country", "--json")
    assert whole.json["members"][0]["country"] == EVIL
    data = await fasttree("downline", "--columns", "member_id,country", "--format", "csv")
    assert EVIL in data.out
