"""Parts of messages by themselves: quiet hours, paces, templates, the journal, the file of opt-outs, senders."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import random
import sqlite3
import zoneinfo
from collections import deque
from pathlib import Path

import pytest
from aiohttp import web

from fasttree.v1 import types_pb2
from services.datatrax.messages.audience.template import Template
from services.datatrax.messages.events import Fate, Note, Phase, Word
from services.datatrax.messages.journal import Journal, LetterRow
from services.datatrax.messages.opt_outs import OptOutsError, read_opt_outs
from services.datatrax.messages.pace import Pace, Rate
from services.datatrax.messages.quiet import quiet_hours
from services.datatrax.messages.senders.channels import ChannelsError, read_channels
from services.datatrax.messages.senders.sender import Letter
from services.datatrax.messages.senders.spool import SpoolOptions, SpoolSender
from services.datatrax.messages.senders.webhook import WebhookOptions, WebhookSender
from services.shared.serving.errors import ResourceExhaustedError
from services.shared.serving.process import StartupError
from tests.datatrax.messages.gateway import KEY, Gateway


def at(text: str, zone: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("hours", "zone", "now", "end"),
    [
        ("21:00-08:00", "America/Denver", "2026-11-27T20:59", None),
        ("21:00-08:00", "America/Denver", "2026-11-27T21:00", "2026-11-28T08:00"),
        ("21:00-08:00", "America/Denver", "2026-11-28T07:59", "2026-11-28T08:00"),
        ("21:00-08:00", "America/Denver", "2026-11-28T08:00", None),
        ("12:00-14:00", "Asia/Tokyo", "2026-11-28T13:00", "2026-11-28T14:00"),
        ("12:00-14:00", "Asia/Tokyo", "2026-11-28T11:59", None),
        # The clock is set on from 02:00 to 03:00: the end that is never shown is at 03:30.
        ("21:00-02:30", "America/Denver", "2026-03-08T01:00", "2026-03-08T03:30"),
        # It is set back from 02:00 to 01:00: the end that is shown twice is the first one.
        ("21:00-01:30", "America/Denver", "2026-10-31T23:00", "2026-11-01T01:30"),
        ("00:00-23:59", "UTC", "2026-11-28T23:59", None),
    ],
)
def test_quiet_hours(hours: str, zone: str, now: str, end: str | None) -> None:
    begins, _, ends = hours.partition("-")
    found = quiet_hours(begins, ends, zone).end_s(at(now, zone))
    assert found == (None if end is None else at(end, zone))


def test_quiet_hours_always_end_later() -> None:
    draw = random.Random(1)
    for _ in range(5_000):
        zone = draw.choice(["America/Denver", "Europe/Zurich", "Australia/Lord_Howe", "Asia/Kathmandu"])
        minutes = draw.sample(range(1_440), 2)
        texts = [f"{minute // 60:02}:{minute % 60:02}" for minute in minutes]
        now_s = at("2026-01-01T00:00", zone) + draw.random() * 366 * 86_400
        end_s = quiet_hours(texts[0], texts[1], zone).end_s(now_s)
        assert end_s is None or now_s < end_s <= now_s + 26 * 3_600


@pytest.mark.parametrize("limit", [1, 7, 60, 600, 5_000])
def test_in_no_minute_go_more_than_the_limit_however_late_the_shell_is(limit: int) -> None:
    draw = random.Random(limit)
    now_s, went, pace = 100.0, deque[float](), Pace(limit, 100.0)
    begun_s = now_s
    for _ in range(6 * limit):
        assert pace.due_s > now_s - 1.0 or limit > 600
        now_s = max(now_s, pace.due_s) + draw.choice([0.0, 0.0, 0.0, draw.random() * 3])
        pace.take(now_s)
        went.append(now_s)
        while went[0] <= now_s - 60.0:
            went.popleft()
        assert len(went) <= limit
    assert now_s - begun_s >= 300.0


def test_a_rate_is_that_of_the_last_minute() -> None:
    rate = Rate()
    assert rate.a_minute(0.0) == 0.0
    for index in range(100):
        rate.add(index / 10)
    assert rate.a_minute(10.0) == 600.0
    assert rate.a_minute(69.5) < 30.0
    assert rate.a_minute(500.0) == 0.0


def test_a_template_has_columns_and_braces() -> None:
    member = types_pb2.Member(
        member_id="7", kind=types_pb2.MEMBER_KIND_CUSTOMER, rank=3, gv_hundredths=-1_250, columns={"first name": "Zoë"}
    )
    template = Template("{{{first name}}} {kind} {rank} {gv} {gv}{absent}")
    assert template.columns == ["first name", "kind", "rank", "gv", "absent"]
    assert template.text_of(member) == "{Zoë} customer 3 -12.50 -12.50"


def letters(count: int) -> list[LetterRow]:
    return [LetterRow(number, f"m{number}", f"text {number}", {"phone": "1"}) for number in range(1, count + 1)]


def journal_with(folder: Path, count: int) -> Journal:
    journal = Journal(folder)
    journal.accept("a", b"x", 1.0, 10)
    journal.add_letters("a", letters(count))
    journal.gathered("a", b"", count, 0)
    return journal


def test_the_journal_counts_each_letter_once(tmp_path: Path) -> None:
    journal = journal_with(tmp_path, 5)
    journal.note([Note("a", 1, Fate.SENT, 1), Note("a", 1, Fate.DEAD, 1), Note("a", 2, Fate.DEAD, 3, "busy")])
    assert journal.note_sent("a", ["m1", "m2", "m3", "m9"]) == 1
    row = journal.row("a")
    assert row is not None
    assert (row.sent, row.dead, row.waiting) == (2, 1, 2)
    assert [each.number for each in journal.load("a", "sms", 0, 10)] == [4, 5]
    assert [(each.member_id, each.text) for each in journal.dead_letters("a", 0, 10)] == [("m2", "text 2")]
    journal.close()
    found = sqlite3.connect(tmp_path / "messages.db").execute("SELECT number FROM letters WHERE text != ''").fetchall()
    assert [number for (number,) in found] == [2, 4, 5], "what is sent is not kept"


def test_a_message_is_not_over_while_letters_of_it_wait_anew(tmp_path: Path) -> None:
    journal = journal_with(tmp_path, 1)
    journal.note([Note("a", 1, Fate.DEAD, 1)])
    assert journal.resend("a", []) == 1
    journal.finish("a", Phase.DONE, "", 2.0, 10)
    row = journal.row("a")
    assert row is not None
    assert row.phase is Phase.SENDING
    assert [each.message_id for each in journal.unfinished()] == ["a"]
    journal.note([Note("a", 1, Fate.SENT, 1)])
    journal.finish("a", Phase.DONE, "", 2.0, 10)
    assert not journal.unfinished()


def test_an_audience_that_was_not_gathered_to_its_end_begins_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.accept("a", b"x", 1.0, 10)
    journal.add_letters("a", letters(10))
    journal.begin_letters("a")
    journal.add_letters("a", letters(3))
    journal.gathered("a", b"", 3, 0)
    assert len(journal.load("a", "sms", 0, 100)) == 3


@pytest.mark.parametrize(
    ("state", "expected"),
    [("newer", "use a newer one"), ("damaged", "it is no database"), ("another's", "of some other program")],
)
def test_a_journal_that_can_not_be_used_is_told(tmp_path: Path, state: str, expected: str) -> None:
    file = tmp_path / "messages.db"
    if state == "another's":
        with contextlib.closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE x (y)")
    else:
        journal_with(tmp_path, 100).close()
    if state == "newer":
        with contextlib.closing(sqlite3.connect(file)) as later:
            later.execute("PRAGMA user_version = 99")
    if state == "damaged":
        file.write_bytes(b"x" * 4_096 + file.read_bytes()[4_096:])
    with pytest.raises(StartupError, match=expected):
        Journal(tmp_path)


def test_a_full_disk_refuses_and_nothing_is_half_done(tmp_path: Path) -> None:
    journal = journal_with(tmp_path, 10)
    journal._database.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        journal.add_letters("a", [LetterRow(number, f"n{number}", "x" * 5_000, {}) for number in range(20, 200)])
    told = journal.told(caught.value)
    assert isinstance(told, ResourceExhaustedError)
    assert "make room" in str(told)
    assert len(journal.load("a", "sms", 0, 1_000)) == 10


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"m1\nm\xff", "line 2: it is not UTF-8"),
        (b"m1\tfax\n", 'line 1: there is no channel "fax": sms, voice'),
        (b"m1\n" + b"x" * 2_000, "line 2: a file has"),
        (b"\n\n" + "m é".encode(), "line 3: the id "),
    ],
)
def test_a_file_of_opt_outs_with_a_fault_is_refused_by_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "opt-outs"
    file.write_bytes(content)
    with pytest.raises(OptOutsError, match="^" + expected.replace("(", r"\(")):
        list(read_opt_outs(file, frozenset({"sms", "voice"})))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0 channels"),
        ("[sms]\nsender = 'pigeon'", '[sms]: there is no sender "pigeon": use webhook or spool'),
        ("[sms]\nsender = 'webhook'\nurl = 'ftp://a/'\nkey_file = 'k'", "[sms]: Expected `str` matching regex"),
        ("[sms]\nsender = 'webhook'\nurl = 'http://a/'\nkey_file = 'HERE/no'", "No such file"),
        ("[sms]\nsender = 'webhook'\nurl = 'http://a/'\nkey_file = 'HERE/short.key'", "a key of 6 bytes"),
        ("[sms]\nsender = 'spool'\nfolder = '/proc/x'", "[sms] folder: "),
        ("[sms]\nsender = 'spool'\nfolder = 'x'\ncolour = 'red'", "unknown field `colour`"),
        ("[sms]\nsender = 'spool'\nfolder = 'x'\nprice = '-1'", "price"),
        ("[sms]\nsender = 'spool'\nfolder = 'x'\nwindow = 0", "window"),
        ("[sms]\nsender = 'spool'", "missing required field `folder`"),
        ("[SMS]\nsender = 'spool'\nfolder = 'x'", "[SMS]: a channel's name"),
        ("sms = 3", "sms: write it as a table [sms]"),
        ("[sms]\nsender = 'spool'\nfolder = 'HERE/x'\nretry_max_s = 0.5", "[sms] retry_max_s: must be"),
        ("sms", "no TOML"),
    ],
)
def test_channels_that_can_not_be_are_told_with_the_place_and_never_the_key(
    tmp_path: Path, text: str, expected: str
) -> None:
    file = tmp_path / "channels.toml"
    (tmp_path / "short.key").write_bytes(b"secret")
    file.write_text(text.replace("HERE", str(tmp_path)))
    with pytest.raises(ChannelsError) as caught:
        read_channels(file)
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)


def letter(member_id: str) -> Letter:
    return Letter("autumn", member_id, "sms", "Hello", {})


async def test_a_gateway_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    gateway = await Gateway().start()
    gateway.open.clear()
    options = WebhookOptions(url=gateway.url, key_file=str(tmp_path / "key"), timeout_s=0.2)
    assert options.problem() is None
    sender = WebhookSender(options, window=2)
    await sender.start()
    answer = await sender.hand_over(letter("m1"))
    assert (answer.word, answer.reason) == (Word.AGAIN, "no answer within 0.2 s")
    gateway.open.set()
    await gateway.stop()
    answer = await sender.hand_over(letter("m1"))
    assert answer.word is Word.AGAIN
    assert "Connect" in answer.reason
    await sender.stop()


@pytest.mark.parametrize(("said", "after_s"), [("7", 7.0), ("9" * 40, 1e40), ("soon", 0.0), ("-7", 0.0)])
async def test_a_gateway_says_how_long_to_wait(tmp_path: Path, said: str, after_s: float) -> None:
    (tmp_path / "key").write_bytes(KEY)
    gateway = await Gateway().start()
    gateway.reply = lambda *_: web.Response(status=503, headers={"Retry-After": said})
    sender = WebhookSender(WebhookOptions(url=gateway.url, key_file=str(tmp_path / "key")), window=1)
    await sender.start()
    answer = await sender.hand_over(letter("m1"))
    assert answer.word is Word.AGAIN
    assert answer.after_s == pytest.approx(after_s)
    await sender.stop()
    await gateway.stop()


async def test_lines_that_come_together_are_written_together_and_a_full_disk_takes_none(tmp_path: Path) -> None:
    sender = SpoolSender(SpoolOptions(folder=str(tmp_path / "voice")))
    await sender.start()
    answers = await asyncio.gather(*(sender.hand_over(letter(f"m{index}")) for index in range(100)))
    assert {each.word for each in answers} == {Word.TAKEN}
    assert sorted(sender.has("autumn")) == sorted(f"m{index}" for index in range(100))
    (tmp_path / "voice").rename(tmp_path / "away")
    answer = await sender.hand_over(letter("m100"))
    assert answer.word is Word.AGAIN
    assert "No such file" in answer.reason
    await sender.stop()
