"""The wire encoder against protobuf: what it writes is what protobuf parses, and what protobuf writes."""

from __future__ import annotations

import datetime
import random
from typing import Any

import numpy as np
import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.treenode.reports.encode import wire

WIDTH = 16
STATUSES = ["", "A", "a status of 16 c"]
VOLUMES = [("PV", "2026-11"), ("CV", "2026-10"), ("", "")]
FURTHER = ["region", "x" * 200]
EPOCH = datetime.date(1970, 1, 1)
EDGES = [0, 1, -1, 127, 128, 16383, 16384, 2**31, 2**63 - 1, -(2**63)]
EVERY_FIELD = 0b1_1111_1111_1110


def number(dice: random.Random) -> int:
    return dice.choice(EDGES) if dice.random() < 0.5 else dice.randrange(-(10**9), 10**12)


def random_columns(seed: int, count: int, wanted: int) -> tuple[wire.WireColumns, list[types_pb2.Member]]:
    """Columns of `count` rows, and the same rows as messages."""
    dice = random.Random(seed)
    ids = ["".join(dice.choices("ABCxyz 019~", k=dice.randrange(1, WIDTH + 1))) or "A" for _ in range(40)]
    id_rows = np.array(ids, f"S{WIDTH}").view(np.uint8).reshape(40, WIDTH)
    members = []
    texts = [[dice.choice(["", "short", "t" * 300]) for _ in range(count)] for _ in FURTHER]
    rows = {
        "member": [dice.randrange(40) for _ in range(count)],
        "sponsor": [dice.randrange(-1, 40) for _ in range(count)],
        "placement": [dice.randrange(-1, 40) for _ in range(count)],
        "leg": [dice.choice([0, 1, 2, 300, 2**31 - 1]) for _ in range(count)],
        "kind": [dice.randrange(3) for _ in range(count)],
        "status": [dice.randrange(3) for _ in range(count)],
        "rank": [dice.choice([0, 1, 32767]) for _ in range(count)],
        "joined": [dice.choice([wire.NO_DAY, 0, -1, 20000, -719162, 2932896]) for _ in range(count)],
        "level": [dice.choice([0, 1, 127, 128, 10**6]) for _ in range(count)],
        "pv": [number(dice) for _ in range(count)],
        "gv": [number(dice) for _ in range(count)],
        "downline_count": [dice.randrange(10**7) for _ in range(count)],
    }
    personal = [[number(dice) for _ in range(count)] for _ in VOLUMES]
    group = [[number(dice) for _ in range(count)] for _ in VOLUMES]
    for row in range(count):
        day = rows["joined"][row]
        fields: dict[str, Any] = {
            "member_id": ids[rows["member"][row]],
            "sponsor_id": ids[rows["sponsor"][row]] if rows["sponsor"][row] >= 0 else "",
            "placement_id": ids[rows["placement"][row]] if rows["placement"][row] >= 0 else "",
            "placement_leg": rows["leg"][row],
            "kind": rows["kind"][row],
            "status": STATUSES[rows["status"][row]],
            "rank": rows["rank"][row],
            "joined_on": "" if day == wire.NO_DAY else (EPOCH + datetime.timedelta(days=day)).isoformat(),
            "level": rows["level"][row],
            "pv_hundredths": rows["pv"][row],
            "gv_hundredths": rows["gv"][row],
            "downline_count": rows["downline_count"][row],
        }
        member = types_pb2.Member(
            **{name: value for bit, (name, value) in enumerate(fields.items(), 1) if wanted >> bit & 1}
        )
        for volume, (volume_type, period) in enumerate(VOLUMES):
            member.volumes.add(
                volume_type=volume_type,
                period=period,
                personal_hundredths=personal[volume][row],
                group_hundredths=group[volume][row],
            )
        member.columns.update({name: texts[at][row] for at, name in enumerate(FURTHER) if texts[at][row]})
        members.append(member)
    prefixes = [wire.volume_prefix(*volume) for volume in VOLUMES]
    keys = [wire.further_prefix(name) for name in FURTHER]
    lengths = [[len(text) for text in column] for column in texts]
    starts = np.cumsum([0, *np.ravel(lengths)])
    columns = wire.WireColumns(
        wanted=wanted,
        ids=id_rows,
        member=np.array(rows["member"], np.int32),
        sponsor=np.array(rows["sponsor"], np.int32),
        placement=np.array(rows["placement"], np.int32),
        leg=np.array(rows["leg"], np.int32),
        kind=np.array(rows["kind"], np.uint8),
        status=np.array(rows["status"], np.int16),
        status_texts=np.array(STATUSES, "S16").view(np.uint8).reshape(3, 16),
        rank=np.array(rows["rank"], np.int16),
        joined=np.array(rows["joined"], np.int32),
        level=np.array(rows["level"], np.int32),
        pv=np.array(rows["pv"], np.int64),
        gv=np.array(rows["gv"], np.int64),
        downline_count=np.array(rows["downline_count"], np.int32),
        volume_prefixes=np.frombuffer(b"".join(prefixes), np.uint8),
        volume_offsets=np.cumsum([0, *map(len, prefixes)]),
        personal=np.array(personal, np.int64),
        group=np.array(group, np.int64),
        further_prefixes=np.frombuffer(b"".join(keys), np.uint8),
        further_offsets=np.cumsum([0, *map(len, keys)]),
        texts=np.frombuffer("".join("".join(column) for column in texts).encode() or b"\0", np.uint8),
        text_offsets=np.array([starts[at * count : (at + 1) * count + 1] for at in range(len(FURTHER))]),
    )
    return columns, members


@pytest.mark.parametrize("wanted", [EVERY_FIELD, 1 << 1, 0, 0b0110_1010_1010])
def test_rows_equal_protobufs_own(wanted: int) -> None:
    columns, members = random_columns(seed=wanted, count=300, wanted=wanted)
    content = wire.RowEncoder(columns, message_bytes=2000).encode_all(300)
    answer = report_pb2.ListDownlineResponse.FromString(content)
    assert list(answer.members) == members
    one_entry = [row for row, member in enumerate(members) if len(member.columns) < 2]
    for row in one_entry:
        _, piece = wire.RowEncoder(columns, message_bytes=1).encode(row, 300)
        assert piece == report_pb2.ListDownlineResponse(members=[members[row]]).SerializeToString()


def test_pieces_end_with_the_row_that_reaches_the_limit() -> None:
    columns, members = random_columns(seed=5, count=100, wanted=EVERY_FIELD)
    encoder = wire.RowEncoder(columns, message_bytes=1000)
    row, pieces = 0, []
    while row < 100:
        following, piece = encoder.encode(row, 100)
        assert following > row
        assert len(report_pb2.ListDownlineResponse.FromString(piece).members) == following - row
        pieces.append(piece)
        row = following
    assert all(1000 <= len(piece) < 1000 + wire.row_bytes_max(columns) for piece in pieces[:-1])
    assert list(report_pb2.ListDownlineResponse.FromString(b"".join(pieces)).members) == members


def test_every_day_of_400_years_and_the_first_and_last_year() -> None:
    out = np.zeros(10, np.uint8)
    days = [
        *range(-200_000, 200_000, 97),
        *range(-719_162, -718_000),
        *range(2_932_000, 2_932_897),
        *range(19_700, 20_500),
    ]
    for day in days:
        wire.put_day(out, 0, day)
        assert out.tobytes().decode() == (EPOCH + datetime.timedelta(days=day)).isoformat()


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21, 2**35])
def test_lengths(value: int) -> None:
    assert wire.encoded_length(value) == types_pb2.Member(downline_count=value).SerializeToString()[1:] or value == 0
