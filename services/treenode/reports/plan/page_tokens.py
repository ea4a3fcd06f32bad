"""Page tokens: where a listing goes on, on any node, whatever was updated since.

A token holds the sort value and the member_id of the last row of its page, not a row number: rows are numbered anew by
an import or a re-lay, and differently on each node. What moves in the order between two pages can be seen twice or not
at all, as with any listing of what changes; what stays where it is is seen once.

It is bound to its request by a digest: with another filter, sort, start or tree it would go on at a point that means
nothing there. It is checked for damage; it holds nothing secret, and opens nothing that its request would not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from google.protobuf.message import Message

from services.shared.serving.errors import InvalidArgumentError

VERSION = 1
DIGEST_BYTES = 12
#: Fields that may differ from page to page.
FREE_FIELDS = ("page_token", "page_size", "limit", "min_position")


@dataclass(frozen=True)
class PageKey:
    """The last row of a page, by its keys in the order."""

    #: Numbers, days, kinds as themselves; None where the sort is by a text or an id.
    number: int | None
    #: A status, a text or the id that the sort names.
    text: str
    member_id: str


def request_digest(request: Message, leads: str | None = None) -> bytes:
    """What binds a token to its request: all of it but the page and the position waited for; and to whose downline its
    caller sees."""
    bound = type(request)()
    bound.CopyFrom(request)
    fields = type(request).DESCRIPTOR.fields_by_name
    for name in FREE_FIELDS:
        if name in fields:
            bound.ClearField(name)
    if "options" in fields and bound.HasField("options"):
        bound.options.ClearField("min_position")  # type: ignore[attr-defined]
        if not bound.options.ByteSize():  # type: ignore[attr-defined]
            bound.ClearField("options")
    content = type(request).__name__.encode() + b"\0" + bound.SerializeToString(deterministic=True)
    if leads is not None:
        content = leads.encode() + b"\0" + content
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES, person=b"request").digest()


def page_token(key: PageKey, digest: bytes) -> str:
    """The token of the page that begins after `key`."""
    text, member_id = key.text.encode(), key.member_id.encode()
    head = struct.pack("<B?qHB", VERSION, key.number is not None, key.number or 0, len(text), len(member_id))
    content = head + text + member_id
    return base64.urlsafe_b64encode(_check(content, digest) + content).decode()


def read_page_token(token: str, digest: bytes) -> PageKey:
    """The key that a token of the same request holds.

    Raises:
        InvalidArgumentError: The token is damaged, or another request's.
    """
    try:
        whole = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        # A last character may hold bits that stand for nothing: two texts must not be one token.
        if base64.urlsafe_b64encode(whole).decode() != token:
            raise ValueError("not as it was written")
        content = whole[DIGEST_BYTES:]
        if whole[:DIGEST_BYTES] != _check(content, digest):
            raise ValueError("the check does not match")
        version, has_number, number, text_size, id_size = struct.unpack_from("<B?qHB", content)
        texts = content[struct.calcsize("<B?qHB") :]
        if version != VERSION or len(texts) != text_size + id_size:
            raise ValueError("not written by this version")
        return PageKey(number if has_number else None, texts[:text_size].decode(), texts[text_size:].decode())
    except (ValueError, struct.error, binascii.Error) as error:
        raise InvalidArgumentError(
            "page_token is damaged or belongs to another request: send next_page_token of the answer before, "
            "unchanged, with the same request, or leave it empty to begin again",
            reason="PAGE_TOKEN_INVALID",
            field="page_token",
            value=token,
        ) from error


def _check(content: bytes, digest: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES, key=digest, person=b"page token").digest()
