"""A folder full of files that are none: each is refused by its line with the mend, and those between them are taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from services.datatrax.app import DataTrax
from services.datatrax.settings import DataTraxSettings
from services.shared.config.sections import ClusterSettings
from tests.datatrax.orders_layout import LAYOUT
from tests.fakes.pusher import FakePusher
from tests.waiting import until

RECORD = b"A001" + b"000007" + b"000125{" + b"\n"
HEADER = "update_id,member_id,amount\n"


class Case(NamedTuple):
    """A file, the layout beside it where it has one, and what its reasons say."""

    name: str
    content: bytes | str
    expected: str
    layout: bytes | str = ""


def order(**fields: object) -> str:
    posted = {"member_id": "7", "amount": "1.00"} | fields
    return (
        json.dumps({"update_id": "o-1", "volume_posted": {name: value for name, value in posted.items() if value}})
        + "\n"
    )


def json_lines() -> Iterator[Case]:
    for text, expected in (
        ("hello\n", "line 1: not JSON"),
        ('"text"\n', "line 1: not a JSON object"),
        ("17\n", "line 1: not a JSON object"),
        ("null\n", "line 1: not a JSON object"),
        ("{}\n", "line 1: update_id is missing: give each change the name"),
        ('{"update_id": "o-1"}\n', "line 1: no change in it: add one of"),
        ('{"update_id": "o-1", "volume_posted": 5}\n', "line 1: volume_posted is 5: write an object"),
        ('{"update_id": "o-1", "volume_posted": []}\n', "line 1: volume_posted is a list: write an object"),
        ('{"update_id": "o-1", "volume_post": {"member_id": "7"}}\n', "line 1: there is no field"),
        ('{"update_id": 5, "volume_posted": {"member_id": "7", "amount": 1}}\n', "write a text, in quotes"),
        ('{"update_id": "o-1", "volume_posted": {"member_id": "7", "amount": 1}, "x": 1}\n', 'there is no field "x"'),
        ('{"update_id": "o-1", "volume_posted": {}, "member_removed": {"member_id": "7"}}\n', "give each"),
        (order(amount="1.005"), "line 1: '1.005' is not an amount: write a number"),
        (order(amount="a lot"), "line 1: 'a lot' is not an amount: write a number"),
        (order(amount="1e999"), "line 1: '1e999' is not an amount: write a number"),
        (order(mumber="7"), 'line 1: there is no field "mumber" in volume_posted: it has'),
        (order(period=202611), "line 1: period is 202611: write a text, in quotes"),
        (order() + '{"update_id": "o-2"\n', "line 2: not JSON"),
        (order() + "\n\n" + "]\n", "line 4: not JSON"),
        ("[" * 100_000 + "\n", "line 1: not JSON: write one object a line"),
        ('{"update_id": "\\ud800", "volume_posted": {"member_id": "7", "amount": 1}}\n', "write whole ones"),
    ):  # fmt: skip
        yield Case("json", text, expected)
    yield Case("json", b"\xff\xfe{\x00}\x00\n\x00", "line 1: not UTF-8: save the file as UTF-8")
    yield Case("json", b'{"update_id": "\xe4"}\n', "line 1: not UTF-8")
    yield Case("json", b"\x00" * 100 + b"\n", "line 1: not JSON")


def rows() -> Iterator[Case]:
    for text, expected in (
        ("", "line 1: no header"),
        ("\n\n", "line 2: no header: the first line names fields"),
        ("member_id,amount\n7,1\n", "line 1: the header has no update_id"),
        ("update_id;member_id;amount\no-1;7;1\n", "if ; separates columns, write commas there"),
        ("update_id,member_id,member_id,amount\no-1,7,7,1\n", 'line 1: the header has "member_id" twice: leave one'),
        ("update_id,mumber,amount\no-1,7,1\n", 'line 1: there is no field "mumber" in volume_posted: did you'),
        (HEADER + "o-1,7\n", "line 2: the row has 2 fields, the header 3"),
        (HEADER + "o-1,7,1,9\n", "line 2: the row has 4 fields, the header 3"),
        (HEADER + "o-1,7,many\n", "line 2: 'many' is not an amount: write a number"),
        (HEADER + "o-1,7,1\no-2,7,1.005\n", "line 3: '1.005' is not an amount"),
        (HEADER + 'o-1,"7,1\n', "a quote is not closed"),
        (HEADER + 'o-1,7"x,1\n', "line 2: a quote is not closed: close it"),
    ):  # fmt: skip
        yield Case("csv", text, expected)
    yield Case("csv", HEADER.encode() + b"o-\xe4,7,1\n", "line 2: not UTF-8")
    yield Case("csv", HEADER.encode("utf-16"), "line 1: not UTF-8")


def records() -> Iterator[Case]:
    for content, expected in (
        (b"A001" + b"00000x" + b"000125{\n", "line 1: member_id (bytes 5 to 10)"),
        (b"A001" + b"000007" + b"00012:{\n", "line 1: amount (bytes 11 to 17)"),
        (RECORD + b"A002" + b"000007" + b"0001", "line 2: amount (bytes 11 to 17)"),
        (RECORD + RECORD.rstrip() + b"more\n", "line 2: the record has 21 bytes, the layout 17: correct it"),
        (b"    " + b"000007" + b"000125{\n", "line 1: order is empty"),
        (b"\xff\xff\xff\xff" + b"000007" + b"000125{\n", "line 1: order (bytes 1 to 4)"),
    ):  # fmt: skip
        yield Case("record", content, expected, LAYOUT)
    packed = LAYOUT.replace('"S9(5)V99"', '"S9(5)V99 COMP-3"') + ""
    packed = 'ends = "none"\n' + packed
    yield Case(
        "record",
        b"A001" + b"000007" + b"\x00\x01\x25\x0c" + b"A002",
        "record 2: the record has 4 bytes, the layout 14: correct it",
        packed,
    )
    yield Case("record", b"A001" + b"000007" + b"\x00\x01\x2a\x0c", "record 1: amount (bytes 11 to 14)", packed)


def layouts() -> Iterator[Case]:
    field = '[[fields]]\nname = "member_id"\npicture = "9(9)"\n'
    change = 'change = "volume_posted"\n'
    for layout, expected in (
        ("change = ", "Invalid value"),
        ("change = 1\n" + field, "Expected `str`"),
        ('change = "volume_post"\n' + field, "change"),
        (change, "fields"),
        (change + "fields = []", "0 fields"),
        (change + "fieldz = 1\n" + field, "unknown field"),
        (change + field.replace("member_id", "mumber_id"), "did you mean member_id"),
        (change + field.replace("member_id", "Member"), "small letters"),
        (change + field.replace("9(9)", "9(99)"), "1 to 31 digits"),
        (change + field.replace("9(9)", "A(9)"), "write X"),
        (change + field.replace("9(9)", "X(9) COMP-3"), "COMP-3"),
        (change + field + "at = 0\n", "begins at byte 0"),
        (change + field + 'date = "DDMM"\n', "write YYYY, MM and DD"),
        (change + field + field, "twice: call one of them filler"),
        (change + field.replace("9(9)", "9(9) COMP-3"), 'set ends = "none"'),
        ('encoding = "utf-7"\n' + change + field, "must be ascii or latin-1 or ebcdic"),
        ('ends = "crlf"\n' + change + field, "must be line or none"),
        ("record_bytes = 8\n" + change + field, "must be 9"),
        ('update_id = "x"\n' + change + field, "the same for every record"),
        ('update_id = "{order}"\n' + change + field, "which is no field; there are member_id"),
        ('update_id = "{member_id"\n' + change + field, "put a field in it"),
    ):  # fmt: skip
        yield Case("layout", RECORD, expected, layout)
    yield Case("layout", RECORD, "it is UTF-16", b"\xff\xfe")
    yield Case("layout", RECORD, "longer than", b"#" * 70_000)
    yield Case("none", RECORD, "No such file or directory; put it there")


SUFFIX = {"json": ".jsonl", "csv": ".csv"}


async def test_each_file_is_refused_by_line_with_the_mend_and_the_rest_goes_on(tmp_path: Path) -> None:
    spool, cases = tmp_path / "FT50201", [*json_lines(), *rows(), *records(), *layouts()]
    (spool / "layouts").mkdir(parents=True)
    assert len(cases) >= 60
    names = {}
    for number, case in enumerate(cases):
        stem = f"c{number:02}"
        name = names[number] = f"{stem}{SUFFIX.get(case.name, '.dat')}"
        if case.layout:
            layout = case.layout.encode() if isinstance(case.layout, str) else case.layout
            (spool / f"layouts/{stem}.toml").write_bytes(layout)
        (spool / name).write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
        (spool / f"{name}.done").touch()
        good = spool / f"good-{number:02}.jsonl"
        good.write_text(
            json.dumps({"update_id": f"good-{number}", "volume_posted": {"member_id": "7", "amount": 1}}) + "\n"
        )
        good.with_name(f"{good.name}.done").touch()
    pusher = FakePusher()
    await pusher.start()
    settings = DataTraxSettings.of(
        instant_port=0, http_port=0, pusher=pusher.address, spool_folder=str(spool), spool_poll_s=0.02,
        spool_marker_settle_s=0.01,
    )  # fmt: skip
    service = await DataTrax.start(ClusterSettings(), settings)

    def is_done() -> bool:
        return not [each for each in spool.iterdir() if each.is_file()]

    await until(is_done, "every file to be taken or refused")
    await service.stop()
    await pusher.stop()
    for number, case in enumerate(cases):
        reasons = (spool / f"refused/{names[number]}.reasons").read_text()
        assert case.expected in reasons, (case, reasons)
        if case.name == "csv" and "line 1:" in case.expected:
            assert len(reasons.splitlines()) == 2, "a header that is none is told once"
        assert "\x1b" not in reasons
        assert "Traceback" not in reasons
        assert (spool / f"done/good-{number:02}.jsonl").exists()
    ids = [update.update_id for update in pusher.updates]
    assert [f"good-{number}" for number in range(len(cases))] == sorted(
        (each for each in ids if each.startswith("good-")), key=lambda each: int(each[5:])
    )
