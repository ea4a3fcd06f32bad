"""Copied rows as Member messages on the wire."""

from __future__ import annotations

import numpy as np

from services.treenode.reports.copy.rows import PLAIN_DTYPES, FrozenRows
from services.treenode.reports.encode import wire
from services.treenode.reports.encode.cell_texts import cell_texts
from services.treenode.reports.plan.columns import Choice
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, UInt8s

STATUS_LENGTH_MAX = 16
#: Bit of each plain column: its field's number in Member.
WANTED = {name: 1 << number for number, name in enumerate(PLAIN_DTYPES, 1)}
#: Message size for rows that go out in one answer anyway.
PIECE_BYTES = 256 * 1024


def status_texts(names: tuple[str, ...] | list[str]) -> UInt8s:
    """uint8[len(names), 16], zero-padded."""
    texts = np.array([name.encode() for name in names] or [b""], f"S{STATUS_LENGTH_MAX}")
    return texts.view(np.uint8).reshape(len(texts), STATUS_LENGTH_MAX)


def _joined(parts: list[bytes]) -> tuple[UInt8s, Int64s]:
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return np.frombuffer(b"".join(parts) or b"\0", np.uint8), offsets


def wire_columns(rows: FrozenRows, choice: Choice) -> wire.WireColumns:
    """The rows as the wire encoder takes them."""
    plain = choice.plain

    def column(name: str) -> AnyArray:
        return rows.plain[name] if name in plain else np.empty(0, PLAIN_DTYPES[name])

    volume_prefixes, volume_offsets = _joined([wire.volume_prefix(*name) for name in rows.volume_names])
    further_prefixes, further_offsets = _joined([wire.further_prefix(name) for name in choice.further])
    cells = [cell_texts(rows.further[name]) for name in choice.further]
    starts = np.cumsum([0, *(cell.offsets[-1] for cell in cells)])
    text_offsets = np.empty((len(cells), rows.count + 1), np.int64)
    for index, cell in enumerate(cells):
        text_offsets[index] = cell.offsets + starts[index]
    return wire.WireColumns(
        wanted=sum(WANTED[name] for name in plain),
        ids=rows.ids,
        member=column("member_id"),
        sponsor=column("sponsor_id"),
        placement=column("placement_id"),
        leg=column("placement_leg"),
        kind=column("kind"),
        status=column("status"),
        status_texts=status_texts(list(rows.status_names)),
        rank=column("rank"),
        joined=column("joined_on"),
        level=column("level"),
        pv=column("pv"),
        gv=column("gv"),
        downline_count=column("downline_count"),
        volume_prefixes=volume_prefixes,
        volume_offsets=volume_offsets,
        # A part's volumes are strided; the encoder is compiled for one layout only.
        personal=np.ascontiguousarray(rows.personal if choice.volumes else rows.personal[:0]),
        group=np.ascontiguousarray(rows.group if choice.volumes else rows.group[:0]),
        further_prefixes=further_prefixes,
        further_offsets=further_offsets,
        texts=np.concatenate([cell.content[: cell.offsets[-1]] for cell in cells]) if cells else np.empty(0, np.uint8),
        text_offsets=text_offsets,
    )


def member_bytes(rows: FrozenRows, choice: Choice) -> bytes:
    """The rows as field 2 of an answer."""
    if rows.count == 0:
        return b""
    return wire.RowEncoder(wire_columns(rows, choice), PIECE_BYTES).encode_all(rows.count)
