"""What DataTrax programs write: lines for the instant port, records by a layout, layouts, their configuration."""

from __future__ import annotations

from pathlib import Path

from fasttree.client.errors import UpdateFormatError
from services.datatrax.cbldatatrax.configuration import configuration_of
from services.datatrax.instant.lines import update_of
from services.datatrax.layouts.layout import LayoutError, layout_of
from services.datatrax.layouts.records import RecordForm
from tests.datatrax.orders_layout import LAYOUT
from tests.fuzz.target import Run, Target

_SAMPLE = Path(__file__).parents[2] / "datatrax" / "CBLDATATRAX.2016"
_PACKED = b"""
change = "volume_posted"
encoding = "ebcdic"
ends = "none"
[[fields]]
name = "update_id"
picture = "X(8)"
[[fields]]
name = "member_id"
picture = "9(6)"
[[fields]]
name = "amount"
picture = "S9(5)V99 COMP-3"
"""


def _lines() -> Run:
    records = RecordForm(layout_of(LAYOUT.encode()))

    def run(data: bytes) -> None:
        update_of(data, records)

    return run


def _layouts() -> Run:
    """A layout, and records by it behind a zero byte."""

    def run(data: bytes) -> None:
        layout, _, record = data.partition(b"\0")
        form = RecordForm(layout_of(layout))
        form.update_of(record, "f:1")
        form.update_of(record[: form.layout.record_bytes].ljust(form.layout.record_bytes, b"0"), "f:1")

    return run


def _configurations() -> Run:
    def run(data: bytes) -> None:
        found = configuration_of(data.decode("latin-1"))
        assert found.faults or found.environments is not None

    return run


TARGETS = [
    Target(
        "datatrax.instant-lines",
        _lines,
        (UpdateFormatError,),
        lambda: [b'{"update_id":"u","volume_posted":{"member_id":"A","amount":"1.5"}}\n', b"00010001230012345\n"],
        1_024,
    ),
    Target(
        "datatrax.layouts",
        _layouts,
        (LayoutError, UpdateFormatError),
        lambda: [
            LAYOUT.encode() + b"\x0000010001230012345\n",
            _PACKED + b"\0" + bytes.fromhex("f1f2f3f4f5f6f7f8f0f0f0f0f0f10000123c"),
        ],
        2_048,
    ),
    Target("datatrax.cbldatatrax", _configurations, (), lambda: [_SAMPLE.read_bytes()]),
]
