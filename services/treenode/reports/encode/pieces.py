"""A downline as a stream of messages, piece by piece from its copy."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from fasttree.v1 import report_pb2
from services.shared.serving.errors import InvalidArgumentError
from services.shared.wire.fields import tag, varint
from services.treenode.reports.columns import Kind
from services.treenode.reports.copy.cuts import Cut
from services.treenode.reports.encode.arrow import END_OF_STREAM, ArrowEncoder
from services.treenode.reports.encode.members import RowEncoder
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.rows import FrozenRows

ARROW_TAG = tag(report_pb2.StreamDownlineResponse.ARROW_FIELD_NUMBER)
#: Bytes that a cell takes on the wire, about; only the size of pieces depends on it.
CELL_BYTES = 8
ROWS_MIN = 256


def check_format(form: report_pb2.RowFormat.ValueType) -> None:
    """Raises InvalidArgumentError for a format that there is not."""
    if form not in report_pb2.RowFormat.values():
        raise InvalidArgumentError(
            f"format {form} is not known: use ROW_FORMAT_MEMBERS or ROW_FORMAT_ARROW",
            reason="FORMAT_UNKNOWN",
            field="format",
            value=str(form),
        )


def pieces(cut: Cut, form: report_pb2.RowFormat.ValueType, limits: ReportLimits) -> Generator[bytes]:
    """StreamDownlineResponse messages, serialized, without as_of; each call for the next one encodes it."""
    rows, choice = cut.members(), cut.choice
    step = max(ROWS_MIN, limits.message_bytes // _row_bytes(rows, choice))
    if form == report_pb2.ROW_FORMAT_ARROW:
        yield from _arrow_pieces(rows, choice, min(step, limits.batch_rows_max))
    else:
        yield from _member_pieces(rows, choice, step, limits.message_bytes)


def _member_pieces(rows: FrozenRows, choice: Choice, step: int, message_bytes: int) -> Iterator[bytes]:
    for first in range(0, rows.count, step):
        part = rows.part(first, min(first + step, rows.count))
        encoder = RowEncoder(part, choice, message_bytes)
        row = 0
        while row < part.count:
            row, content = encoder.encode(row)
            yield content


def _arrow_pieces(rows: FrozenRows, choice: Choice, step: int) -> Iterator[bytes]:
    encoder = ArrowEncoder(rows, choice)
    yield _arrow_message(encoder.head())
    for first in range(0, rows.count, step):
        yield _arrow_message(encoder.encode(rows.part(first, min(first + step, rows.count))))
    yield _arrow_message(END_OF_STREAM)


def _arrow_message(content: bytes | memoryview) -> bytes:
    return b"".join((ARROW_TAG, varint(len(content)), content))


def _row_bytes(rows: FrozenRows, choice: Choice) -> int:
    width: int = rows.ids.shape[1]
    ids = sum(column.kind is Kind.ID for column in choice.plain)
    volumes = 4 * CELL_BYTES * len(rows.volume_names) if choice.volumes else 0
    return ids * width + CELL_BYTES * (len(choice.columns) - ids) + 2 * CELL_BYTES * len(choice.further) + volumes
