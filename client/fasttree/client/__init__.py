"""The Python client of HA FastTree (asyncio): push updates, import files, read reports, operate a cluster.

Start with `Client`. Messages are those of fasttree.v1; errors are named in `fasttree.client.errors`.
"""

from fasttree.client.calls.retries import Retries
from fasttree.client.calls.tls import TlsFiles
from fasttree.client.calls.tokens import TokenFile
from fasttree.client.client import Client
from fasttree.client.endpoints import Endpoints, NodeEndpoint
from fasttree.client.errors import (
    AbortedError,
    AlreadyExistsError,
    CallError,
    ClientClosedError,
    DataLossError,
    DeadlineExceededError,
    EndpointsError,
    FailedPreconditionError,
    FastTreeClientError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    StreamInterruptedError,
    TlsFilesError,
    TokenFileError,
    UnauthenticatedError,
    UnavailableError,
    UpdateFormatError,
)
from fasttree.client.forms.amounts import from_hundredths, to_hundredths
from fasttree.client.forms.update_json import update_from_json, update_to_json
from fasttree.client.imports import FINAL_STATES, ImportFileError, UploadOptions
from fasttree.client.messages import Messages
from fasttree.client.push import PushOptions
from fasttree.client.reports import Reports

__all__ = [
    "FINAL_STATES",
    "AbortedError",
    "AlreadyExistsError",
    "CallError",
    "Client",
    "ClientClosedError",
    "DataLossError",
    "DeadlineExceededError",
    "Endpoints",
    "EndpointsError",
    "FailedPreconditionError",
    "FastTreeClientError",
    "ImportFileError",
    "InvalidArgumentError",
    "Messages",
    "NodeEndpoint",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "PushOptions",
    "Reports",
    "ResourceExhaustedError",
    "Retries",
    "StreamInterruptedError",
    "TlsFiles",
    "TlsFilesError",
    "TokenFile",
    "TokenFileError",
    "UnauthenticatedError",
    "UnavailableError",
    "UpdateFormatError",
    "UploadOptions",
    "from_hundredths",
    "to_hundredths",
    "update_from_json",
    "update_to_json",
]
