"""What can go wrong, by name.

Every error is one line that says where it happened and what to do. `reason`, `field` and `value` come from the server's
google.rpc.ErrorInfo where it sent one.
"""

from __future__ import annotations

import re
from typing import ClassVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2


class FastTreeClientError(Exception):
    """Any error of this library."""

    def __init__(self, message: str, *, reason: str = "", field: str = "", value: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.field = field
        self.value = value


class EndpointsError(FastTreeClientError):
    """The endpoints file is missing, damaged, or lacks what was asked for."""


class TlsFilesError(FastTreeClientError):
    """A certificate, a key or an authority that can't be used."""


class TokenFileError(FastTreeClientError):
    """A token that can't be read, or would go where others can read it."""


class UpdateFormatError(FastTreeClientError):
    """An update as text that can't be read."""


class CallError(FastTreeClientError):
    """A call that ended with a gRPC status other than OK."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    #: Why nobody was reached, in a few words; empty where a server wrote the status.
    unreached: str = ""


class NotFoundError(CallError):
    """No such member, import or node."""

    code = grpc.StatusCode.NOT_FOUND


class PermissionDeniedError(CallError):
    """This client's certificate or token is of a role that may not call that."""

    code = grpc.StatusCode.PERMISSION_DENIED


class UnauthenticatedError(CallError):
    """Nobody knows who calls: no certificate and no token, or a token that does not count."""

    code = grpc.StatusCode.UNAUTHENTICATED


class InvalidArgumentError(CallError):
    """The request names what does not exist, or is malformed."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class FailedPreconditionError(CallError):
    """Right as a request, but not now: the cluster is not in a state for it."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class UnavailableError(CallError):
    """Nobody answered, or only "not now", until the deadline."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceededError(CallError):
    """No answer in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class OutOfRangeError(CallError):
    """A position that is not in the log any more, or not yet."""

    code = grpc.StatusCode.OUT_OF_RANGE


class DataLossError(CallError):
    """Bytes that do not fit their checksum."""

    code = grpc.StatusCode.DATA_LOSS


class ResourceExhaustedError(CallError):
    """Too much: a full disk, a message or a file over its limit."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class AlreadyExistsError(CallError):
    """Other content under the same id."""

    code = grpc.StatusCode.ALREADY_EXISTS


class AbortedError(CallError):
    """Another caller took the place."""

    code = grpc.StatusCode.ABORTED


class ClientClosedError(CallError):
    """The client was closed before the answer came, or before the call was made."""

    code = grpc.StatusCode.CANCELLED


class StreamInterruptedError(UnavailableError):
    """A streamed report broke off after its first rows: what came so far is not whole. Ask again."""


_BY_CODE: dict[grpc.StatusCode, type[CallError]] = {
    kind.code: kind
    for kind in (
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
        InvalidArgumentError,
        FailedPreconditionError,
        UnavailableError,
        DeadlineExceededError,
        OutOfRangeError,
        DataLossError,
        ResourceExhaustedError,
        AlreadyExistsError,
        AbortedError,
    )
}


#: What gRPC says before the reason itself: the address once more.
_TRIED = re.compile(
    "^failed to connect to all addresses; last error: (?:[A-Z]+: )?ip[^ ]+: "
    "(?:Failed to connect to remote host: )?(?:connect: )?"
)


#: What gRPC says of TLS, and what is wrong then: in its own words nobody would find it.
_TLS_WORDS = (
    (re.compile("CERTIFICATE_VERIFY_FAILED: certificate has expired"), "its certificate has expired: renew it there"),
    (re.compile("CERTIFICATE_VERIFY_FAILED"), "its certificate is of no authority in this client's ca.crt"),
    (re.compile("Peer name .* is not in peer certificate|Hostname"), "its certificate is for another host"),
    (re.compile("WRONG_VERSION_NUMBER"), "it speaks no TLS, and this client does"),
    (
        re.compile("TSI_DATA_CORRUPTED"),
        "it refuses this client's certificate: another authority's, expired, or revoked",
    ),
    (
        re.compile("^Secure read failed"),
        "the connection is broken: its server has ended, or refuses this client's certificate",
    ),
    (
        re.compile("^Socket closed$"),
        "it ends the connection at once: it may want a certificate, or another one than this client's (--tls-dir)",
    ),
)


def tls_words(details: str) -> str:
    """What is wrong with a certificate, where gRPC's words for a broken connection tell of one; else empty."""
    return next((words for pattern, words in _TLS_WORDS if pattern.search(details)), "")


def is_not_trusted(error: grpc.aio.AioRpcError) -> bool:
    """Whether this client does not believe the server's certificate: another try would come to the same."""
    return "CERTIFICATE_VERIFY_FAILED" in (error.details() or "") and not has_details(error)


#: Where a server's own status stands, as gRPC has it.
_DETAILS = "grpc-status-details-bin"


def has_details(error: grpc.aio.AioRpcError) -> bool:
    """Whether a server wrote the status itself. Without details it may be a broken transport's or a proxy's."""
    return any(key == _DETAILS for key, _ in error.trailing_metadata() or ())


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    """What a server wrote of the reason, for programs; None where none did."""
    # Not by grpc_status, which raises where the words differ: beside a server's details, a connection that ends in the
    # same moment leaves its own.
    written = [value for key, value in error.trailing_metadata() or () if key == _DETAILS]
    try:
        details = [detail for each in written for detail in status_pb2.Status.FromString(each).details]
        for detail in details:
            info = error_details_pb2.ErrorInfo()
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
                return info
    except (DecodeError, TypeError):  # no server of ours wrote that
        pass
    return None


def call_error(error: grpc.aio.AioRpcError, called: str, address: str) -> CallError:
    """The named error for a gRPC status; `called` and `address` say what was asked of whom."""
    kind = _BY_CODE.get(error.code(), CallError)
    text = _one_line(error.details() or "")
    reason = field = value = unreached = ""
    if (info := error_info(error)) is not None:
        reason, field, value = info.reason, info.metadata.get("field", ""), info.metadata.get("value", "")
    if kind is UnavailableError and not has_details(error):
        text = _TRIED.sub("", text)
        unreached = tls_words(text) or text or "no connection"
        text = f"nobody answers at {address} ({unreached}); is the cluster up?"
    elif kind is DeadlineExceededError and not has_details(error):
        unreached = "no answer in time"
        text = f"no answer from {address} in time; ask again, or allow more with a longer timeout"
    elif kind is CallError:
        text = f"{called} at {address} failed with {error.code().name}: {text or 'no reason given'}"
    told = kind(text or f"{called} at {address}: {error.code().name}", reason=reason, field=field, value=value)
    if unreached:
        told.unreached = unreached
    return told


def member_unknown(member_id: str) -> NotFoundError:
    """What GetMember says of an id that nobody has, where a batch was asked."""
    return NotFoundError(
        f'member_id "{member_id}": no member has this id', reason="MEMBER_UNKNOWN", field="member_id", value=member_id
    )


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
