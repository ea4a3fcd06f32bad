"""What goes wrong, as JSON with the status that browsers know."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from fasttree.client import (
    AbortedError,
    AlreadyExistsError,
    CallError,
    DeadlineExceededError,
    FailedPreconditionError,
    FastTreeClientError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UpdateFormatError,
)

logger = logging.getLogger(__name__)
_BODY_BYTES_MAX: Final = 65_536

_STATUSES: Final[Mapping[type[FastTreeClientError], int]] = {
    InvalidArgumentError: 400,
    UpdateFormatError: 400,
    OutOfRangeError: 400,
    UnauthenticatedError: 401,
    PermissionDeniedError: 403,
    NotFoundError: 404,
    AlreadyExistsError: 409,
    AbortedError: 409,
    FailedPreconditionError: 409,
    ResourceExhaustedError: 429,
    UnavailableError: 503,
    DeadlineExceededError: 504,
}


class AskError(Exception):
    """What a browser asked for can't be: one line with the mend."""


def json_answer(value: Any, status: int = 200) -> web.Response:
    """One JSON document."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json")


async def asked(request: web.Request) -> dict[str, Any]:
    """The body, a JSON object. Raises AskError."""
    data = await request.content.read(_BODY_BYTES_MAX + 1)
    if len(data) > _BODY_BYTES_MAX:
        raise AskError(f"the request is longer than {_BODY_BYTES_MAX} bytes")
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise AskError("the request is no JSON") from None
    if not isinstance(value, dict):
        raise AskError("the request must be a JSON object")
    return value


def text_of(value: Mapping[str, Any], name: str, length_max: int = 256) -> str:
    """A text of the request; empty where it is not there. Raises AskError."""
    text = value.get(name, "")
    if not isinstance(text, str) or len(text) > length_max:
        raise AskError(f"{name} must be a text of up to {length_max} characters")
    return text


def whole_of(query: Mapping[str, str], name: str) -> int:
    """A whole number of the request; 0 where it is not there. Raises AskError."""
    text = query.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise AskError(f"{name} must be a whole number")
    return int(text or 0)


@web.middleware
async def as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware of /api/."""
    if not request.path.startswith("/api/"):
        return await handler(request)
    try:
        return await handler(request)
    except web.HTTPException as error:
        text = (error.text or error.reason).strip()
        return _refusal(error.status, error.reason.upper().replace(" ", "_"), text)
    except AskError as error:
        return _refusal(400, "INVALID_ARGUMENT", str(error))
    except FastTreeClientError as error:
        status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 502)
        code = error.code.name if isinstance(error, CallError) else "UNKNOWN"
        return _refusal(status, error.reason or code, error.message)


def _refusal(status: int, code: str, text: str) -> web.Response:
    return json_answer({"error": {"code": code, "message": text}}, status)
