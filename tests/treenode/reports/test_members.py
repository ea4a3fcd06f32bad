"""The row encoder against protobuf: what it writes is what protobuf parses, and what protobuf writes."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.treenode.reports.columns import COLUMNS, VOLUMES, Column, Kind, Where, further_column
from services.treenode.reports.encode.cells import field_row, put_day, text_table
from services.treenode.reports.encode.members import RowEncoder
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree import NO_DAY
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import AnyArray

WIDTH = 16
STATUSES = ["", "A", "a status of 16 c"]
SLOTS = [("PV", "2026-11"), ("CV", "2026-10"), ("", "")]
FURTHER = [further_column(name, "text", np.int64) for name in ("region", "x" * 200)]
FURTHER_TEXTS = ["", "short", "t" * 300]
EPOCH = datetime.date(1970, 1, 1)
EDGES = [0, 1, -1, 127, 128, 16383, 16384, 2**31, 2**63 - 1, -(2**63)]
EVERY = (*COLUMNS.values(), VOLUMES, *FURTHER)


def hundredths(dice: random.Random) -> int:
    return dice.choice(EDGES) if dice.random() < 0.5 else dice.randrange(-(10**9), 10**12)


def random_value(column: Column, ids: Sequence[str], dice: random.Random) -> tuple[int, Any]:
    """A copied value, and what its field holds."""
    match column.kind:
        case Kind.ID:
            row = dice.randrange(0 if column.where is Where.MEMBER else -1, len(ids))
            return row, ids[row] if row >= 0 else ""
        case Kind.ENUM:
            return (number := dice.randrange(3)), number
        case Kind.CODE:
            code = dice.randrange(len(STATUSES))
            return code, STATUSES[code]
        case Kind.DATE:
            day = dice.choice([NO_DAY, 0, -1, 20000, -719162, 2932896])
            return day, "" if day == NO_DAY else (EPOCH + datetime.timedelta(days=day)).isoformat()
        case Kind.HUNDREDTHS:
            return (amount := hundredths(dice)), amount
    largest = 2 ** (8 * np.dtype(column.dtype).itemsize - 1) - 1
    number = dice.choice([0, 1, 2, 127, 128, 300, largest])
    return number, number


def random_rows(seed: int, count: int, columns: Sequence[Column]) -> tuple[RowEncoder, list[types_pb2.Member]]:
    """An encoder of `count` rows with these columns, in messages of 2000 bytes, and the same rows as messages."""
    dice = random.Random(seed)
    ids = ["".join(dice.choices("ABCxyz 019~", k=dice.randrange(1, WIDTH + 1))) for _ in range(40)]
    members = [types_pb2.Member() for _ in range(count)]
    choice = Choice(types_pb2.TREE_SPONSOR, "PV", "2026-11", tuple(columns))
    values: dict[Column, AnyArray] = {}
    texts, references = Texts.of(FURTHER_TEXTS)
    for column in choice.plain:
        drawn = [random_value(column, ids, dice) for _ in range(count)]
        values[column] = np.array([value for value, _ in drawn], column.dtype)
        for member, (_, content) in zip(members, drawn, strict=True):
            assert column.field is not None
            setattr(member, column.field.name, content)
    for column in choice.further:
        codes = [dice.randrange(len(FURTHER_TEXTS)) for _ in range(count)]
        values[column] = references[codes]
        for member, code in zip(members, codes, strict=True):
            if code:
                member.columns[column.name] = FURTHER_TEXTS[code]
    slots = SLOTS if choice.volumes else []
    volumes = [[[hundredths(dice) for _ in range(count)] for _ in slots] for _ in range(2)]
    for index, (volume_type, period) in enumerate(slots):
        for row, member in enumerate(members):
            personal, group = volumes[0][index][row], volumes[1][index][row]
            member.volumes.add(
                volume_type=volume_type, period=period, personal_hundredths=personal, group_hundredths=group
            )
    rows = FrozenRows(
        count=count,
        ids=np.array(ids, f"S{WIDTH}").view(np.uint8).reshape(40, WIDTH),
        values=values,
        names={column: STATUSES for column in columns if column.kind is Kind.CODE},
        texts=dict.fromkeys(choice.further, texts),
        volume_names=slots,
        personal=np.array(volumes[0], np.int64).reshape(len(slots), count),
        group=np.array(volumes[1], np.int64).reshape(len(slots), count),
    )
    return RowEncoder(rows, choice, 2000), members


@pytest.mark.parametrize(
    "columns",
    [EVERY, EVERY[:1], (), EVERY[::-2], (VOLUMES, *FURTHER), tuple(COLUMNS.values())],
    ids=["every", "member_id", "none", "some", "no plain ones", "plain ones"],
)
def test_rows_equal_protobufs_own(columns: Sequence[Column]) -> None:
    encoder, members = random_rows(len(columns), 300, columns)
    content = encoder.encode_all()
    assert list(report_pb2.ListDownlineResponse.FromString(content).members) == members
    if len(set(columns) & set(FURTHER)) < 2:
        # The order of a map's entries is nobody's.
        assert content == report_pb2.ListDownlineResponse(members=members).SerializeToString()


def test_pieces_end_with_the_row_that_reaches_the_limit() -> None:
    encoder, members = random_rows(5, 100, EVERY)
    row, pieces = 0, []
    while row < 100:
        following, piece = encoder.encode(row)
        assert following > row
        assert len(report_pb2.ListDownlineResponse.FromString(piece).members) == following - row
        pieces.append(piece)
        row = following
    assert all(2000 <= len(piece) < 2000 + encoder.row_bytes_max for piece in pieces[:-1])
    assert list(report_pb2.ListDownlineResponse.FromString(b"".join(pieces)).members) == members


def test_a_column_that_no_field_is_written_from_is_named() -> None:
    with pytest.raises(ValueError, match=r"column rank: no field is written from number in float64"):
        field_row(COLUMNS["rank"], np.zeros(3))
    with pytest.raises(ValueError, match=r"column status: no field is written from code in int32"):
        field_row(COLUMNS["status"], np.zeros(3, np.int32))
    with pytest.raises(ValueError, match=r"column region: no field"):
        field_row(FURTHER[0], np.zeros(3, np.int16))


def test_a_text_that_is_too_long_is_told() -> None:
    with pytest.raises(ValueError, match="column status: a text has 17 bytes, more than 16"):
        text_table(COLUMNS["status"], ["A", "x" * 17])


def test_every_day_of_400_years_and_the_first_and_last_year() -> None:
    out = np.zeros(10, np.uint8)
    days = [
        *range(-200_000, 200_000, 97),
        *range(-719_162, -718_000),
        *range(2_932_000, 2_932_897),
        *range(19_700, 20_500),
    ]
    for day in days:
        put_day(out, 0, day)
        assert out.tobytes().decode() == (EPOCH + datetime.timedelta(days=day)).isoformat()
