"""Named errors, and the one place where they become gRPC statuses.

A servicer raises; the interceptor in `services.shared.serving.server` answers with the status and a
`google.rpc.ErrorInfo` that names the reason, the field and the value, so that a program can act on it.
"""

from __future__ import annotations

from typing import ClassVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from services.shared.domain.sentences import plain

DOMAIN = "fasttree"
VALUE_LENGTH_MAX = 100
#: A status travels in a header block of 8 KiB: its message stands there three times, and in one of them each byte may
#: take three. What would not fit comes to the client as a broken stream, in place of the reason.
MESSAGE_BYTES_MAX = 800


class FastTreeError(Exception):
    """Something that a caller can act on.

    Args:
        message: One line that names the place and the mend; cut to a length that is safe to send.
        reason: UPPER_SNAKE_CASE, the same for each case of one kind; the class's own where empty.
        field: The request's field that is wrong, if one is.
        value: Its value, cut to a length that is safe to send.
        retry_after_s: When the same request may do better; None where it can't be said.
        active: host:port of the server to ask instead, where it is known.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        value: str = "",
        retry_after_s: float | None = None,
        active: str = "",
    ) -> None:
        message = plain(message)  # it may repeat what a peer sent, and ends on a terminal and in logs
        encoded = message.encode(errors="replace")
        if len(encoded) > MESSAGE_BYTES_MAX:
            message = encoded[:MESSAGE_BYTES_MAX].decode(errors="ignore") + "…"
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field
        self.value = value[:VALUE_LENGTH_MAX]
        self.retry_after_s = retry_after_s
        self.active = active

    def __str__(self) -> str:
        return self.message


class PermissionDeniedError(FastTreeError):
    """Whoever calls may not."""

    code = grpc.StatusCode.PERMISSION_DENIED
    default_reason = "NOT_ALLOWED"


class UnauthenticatedError(FastTreeError):
    """Nobody knows who calls."""

    code = grpc.StatusCode.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class NotFoundError(FastTreeError):
    """What the request names does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    default_reason = "NOT_FOUND"


class InvalidArgumentError(FastTreeError):
    """The request is malformed, or names what can't be."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    default_reason = "INVALID_ARGUMENT"


class FailedPreconditionError(FastTreeError):
    """Not in this state; a retry alone does not help."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class UnavailableError(FastTreeError):
    """Not now, or not here: try again, or another server."""

    code = grpc.StatusCode.UNAVAILABLE
    default_reason = "UNAVAILABLE"


class OutOfRangeError(FastTreeError):
    """Past an end: no longer there, or not yet."""

    code = grpc.StatusCode.OUT_OF_RANGE
    default_reason = "OUT_OF_RANGE"


class DataLossError(FastTreeError):
    """Bytes that are not what was written."""

    code = grpc.StatusCode.DATA_LOSS
    default_reason = "DATA_LOSS"


class ResourceExhaustedError(FastTreeError):
    """A limit, or the disk, is full."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = "RESOURCE_EXHAUSTED"


class AlreadyExistsError(FastTreeError):
    """The name is taken, with other content."""

    code = grpc.StatusCode.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class DeadlineExceededError(FastTreeError):
    """Waited as long as the caller allowed."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class AbortedError(FastTreeError):
    """Ended for a newer one."""

    code = grpc.StatusCode.ABORTED
    default_reason = "ABORTED"


def to_rpc_status(error: FastTreeError) -> status_pb2.Status:
    """The error as `google.rpc.Status`, with its details."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    told = (("field", error.field), ("value", error.value), ("active", error.active))
    metadata = {key: value for key, value in told if value}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if error.code is grpc.StatusCode.INVALID_ARGUMENT and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.code is grpc.StatusCode.NOT_FOUND and error.value:
        resource = error_details_pb2.ResourceInfo(
            resource_type=error.field, resource_name=error.value, description=error.message
        )
        status.details.add().Pack(resource)
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after_s * 1_000))
        status.details.add().Pack(retry)
    return status
