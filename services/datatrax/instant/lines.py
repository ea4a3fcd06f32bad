"""A line that comes in, and the line that answers it.

An object is answered by an object, `{"update_id": …, "position": …, "code": 0, …}`. A record is answered by fixed
places, which COBOL reads as they are:

    code         9(2)     bytes 1 to 2     0: taken; else as in docs/updates.md, Receipts
    position     9(19)    bytes 4 to 22
    duplicate    X        byte 24          D: it had been taken before
    message      X(…)     from byte 26     why it was not taken
"""

from __future__ import annotations

import json

from fasttree.client import UpdateFormatError, update_from_json
from fasttree.client.forms.receipt_json import receipt_json
from fasttree.v1 import pusher_pb2, types_pb2
from services.datatrax.layouts.records import RecordForm
from services.shared.domain.sentences import plain

#: gRPC's number for what is malformed.
INVALID_ARGUMENT = 3


def is_json(line: bytes) -> bool:
    """Which of the two forms a line has."""
    return line.lstrip().startswith(b"{")


def update_of(line: bytes, records: RecordForm | None) -> types_pb2.Update | None:
    """The update of a line; None where it is blank. Raises UpdateFormatError.

    Args:
        records: What makes updates of records; None where none are taken.
    """
    if not line.strip():
        return None
    if is_json(line):
        try:
            return update_from_json(line.decode())
        except UnicodeDecodeError:
            raise UpdateFormatError("the line is not UTF-8") from None
    if records is None:
        raise UpdateFormatError(
            "the line is no JSON object, and no layout is set for records (datatrax.instant_layout)"
        )
    return records.update_of(line, "")


def answer_of(receipt: pusher_pb2.Receipt, as_json: bool) -> bytes:
    """The line of a receipt, with its end."""
    if as_json:
        return json.dumps(receipt_json(receipt), ensure_ascii=False).encode() + b"\n"
    duplicate = "D" if receipt.duplicate else " "
    line = f"{receipt.code:02} {receipt.position:019} {duplicate} {plain(receipt.message)}"
    return line.rstrip().encode(errors="replace") + b"\n"


def refusal(reason: str, code: int = INVALID_ARGUMENT) -> pusher_pb2.Receipt:
    """Of a line that is no update, or is not taken."""
    return pusher_pb2.Receipt(code=code, message=reason)
