"""Calls to etcd: one key read, and written where it is as it was. Several endpoints, TLS, a user: own stubs.

A call goes to the endpoint that answered last, and to the next one where that does not answer in its share of the time:
a member that is dead, cut off or without a leader costs a moment, and no failed call while a majority is well.

A write that was not answered may have been done. It names the revision that it goes by, so it is done once at most; the
next try reads the key as well where the comparison fails, and finds its own value there if it was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from fasttree.etcd.v1 import etcd_pb2
from services.coordinator.stores.etcd_settings import EtcdSettings
from services.shared.config.text_file import read_text_file

#: What is kept under a key here has hundreds of bytes.
_MESSAGE_BYTES_MAX = 1 << 20
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
]
_RANGE = "/etcdserverpb.KV/Range"
_TXN = "/etcdserverpb.KV/Txn"
_AUTHENTICATE = "/etcdserverpb.Auth/Authenticate"
_CREDENTIALS_BYTES_MAX = 1_024
#: Of a certificate, a key or authorities.
_FILE_BYTES_MAX = 1 << 20

Response = TypeVar("Response", bound=Message)


class EtcdError(Exception):
    """etcd can't be asked, or does not do it: one line that names the endpoint. Nothing was changed."""


class NotKnownError(EtcdError):
    """No answer to a write: not known whether it was done."""


class _UnansweredError(EtcdError):
    """This endpoint did not answer; another one may."""


class EtcdClient:
    """One etcd cluster. Files of TLS and of the user are read when an endpoint is connected to, so that new ones count.

    Args:
        settings: Where it is, and what it is asked with.
        timeout_s: What each call has to end in, all its tries together.
    """

    def __init__(self, settings: EtcdSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        #: The one that answered last stands first.
        self._endpoints: list[str] = list(settings.etcd_endpoints)
        #: To that one.
        self._channel: grpc.aio.Channel | None = None
        self._token = ""

    async def get(self, key: bytes) -> etcd_pb2.KeyValue | None:
        """What is kept under the key now, as a majority has it; None where nothing is. Raises EtcdError."""
        answer = await self._ask(_RANGE, etcd_pb2.RangeRequest(key=key), etcd_pb2.RangeResponse.FromString)
        return answer.kvs[0] if answer.kvs else None

    async def replace(self, key: bytes, value: bytes, expected_revision: int) -> int:
        """Puts the value under the key, if and only if it is as it was in that revision (0: is not there).

        Returns:
            Its revision from now on; 0 where it was another one: nothing was changed.

        Raises:
            NotKnownError: Not known whether it was done.
            EtcdError: It was not done.
        """
        compare = etcd_pb2.Compare(target=etcd_pb2.Compare.COMPARE_TARGET_MOD, key=key, mod_revision=expected_revision)
        if expected_revision == 0:
            compare = etcd_pb2.Compare(target=etcd_pb2.Compare.COMPARE_TARGET_CREATE, key=key, create_revision=0)
        request = etcd_pb2.TxnRequest(
            compare=[compare],
            success=[etcd_pb2.RequestOp(request_put=etcd_pb2.PutRequest(key=key, value=value))],
            failure=[etcd_pb2.RequestOp(request_range=etcd_pb2.RangeRequest(key=key))],
        )
        try:
            answer = await self._ask(_TXN, request, etcd_pb2.TxnResponse.FromString)
        except _UnansweredError as error:
            raise NotKnownError(str(error)) from error
        if answer.succeeded:
            return answer.header.revision
        found = answer.responses[0].response_range.kvs if answer.responses else ()
        # An earlier try of this very write was done, and its answer was lost: nobody else writes this value.
        return next((kept.mod_revision for kept in found if kept.value == value), 0)

    async def close(self) -> None:
        """Ends the connection."""
        await self._leave()

    async def _ask(self, path: str, request: Message, decode: Callable[[bytes], Response]) -> Response:
        """The answer of the first endpoint that gives one. Raises EtcdError."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._timeout_s
        # Two tries at each are more than there is time for; the last one may take all that is left.
        share_s = self._timeout_s / (len(self._endpoints) + 0.5)
        problems: list[str] = []
        for _ in range(2 * len(self._endpoints)):
            left_s = deadline_s - loop.time()
            if left_s <= 0:
                break
            try:
                return await self._ask_endpoint(path, request, decode, min(left_s, share_s))
            except _UnansweredError as error:
                problems.append(str(error))
                await self._leave()
                self._endpoints.append(self._endpoints.pop(0))
        raise _UnansweredError("; ".join(dict.fromkeys(problems)) or "etcd: no answer in time")

    async def _ask_endpoint(
        self, path: str, request: Message, decode: Callable[[bytes], Response], timeout_s: float
    ) -> Response:
        until_s = asyncio.get_running_loop().time() + timeout_s
        for attempt in range(2):
            left_s = max(0.001, until_s - asyncio.get_running_loop().time())
            try:
                return await self._call(path, request, decode, left_s)
            except grpc.aio.AioRpcError as error:
                if attempt == 0 and self._settings.etcd_user_file and _wants_token(error):
                    self._token = ""
                    continue
                raise self._failed(error) from error
        raise AssertionError("the second attempt returns or raises")

    async def _call(
        self, path: str, request: Message, decode: Callable[[bytes], Response], timeout_s: float
    ) -> Response:
        channel = self._connected()
        metadata: tuple[tuple[str, str], ...] = ()
        if self._settings.etcd_user_file:
            if not self._token:
                user, password = read_user(Path(self._settings.etcd_user_file))
                asked = etcd_pb2.AuthenticateRequest(name=user, password=password)
                granted: etcd_pb2.AuthenticateResponse = await _unary(
                    channel, _AUTHENTICATE, etcd_pb2.AuthenticateResponse.FromString
                )(asked, timeout=timeout_s)
                self._token = granted.token
            metadata = (("token", self._token),)
        answer: Response = await _unary(channel, path, decode)(request, timeout=timeout_s, metadata=metadata)
        return answer

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            settings, endpoint = self._settings, self._endpoints[0]
            if not settings.etcd_ca_file:
                self._channel = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
            else:
                credentials = grpc.ssl_channel_credentials(
                    _read(settings.etcd_ca_file, "etcd_ca_file"),
                    _read(settings.etcd_key_file, "etcd_key_file"),
                    _read(settings.etcd_cert_file, "etcd_cert_file"),
                )
                self._channel = grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
        return self._channel

    async def _leave(self) -> None:
        channel, self._channel, self._token = self._channel, None, ""
        if channel is not None:
            await channel.close()

    def _failed(self, error: grpc.aio.AioRpcError) -> EtcdError:
        said = f"etcd at {self._endpoints[0]}: {error.code().name}: {error.details()}"
        match error.code():
            case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
                return EtcdError(f"{said}; see coordinator.etcd_user_file, and that user's roles in etcd")
            case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.FAILED_PRECONDITION:
                return EtcdError(f"{said}; see coordinator.etcd_user_file, and whether etcd's authentication is on")
            case _:
                return _UnansweredError(said)


def _unary(channel: grpc.aio.Channel, path: str, decode: Callable[[bytes], Any]) -> Any:
    return channel.unary_unary(path, request_serializer=_encode, response_deserializer=decode)


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


def _wants_token(error: grpc.aio.AioRpcError) -> bool:
    """Whether a new token helps: the old one has expired, or users and roles were changed since."""
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return True
    return error.code() is grpc.StatusCode.INVALID_ARGUMENT and "auth store is old" in (error.details() or "")


def _read(path: str, setting: str) -> bytes | None:
    if not path:
        return None
    try:
        return read_text_file(Path(path), _FILE_BYTES_MAX, or_latin_1=True).encode()
    except OSError as error:
        raise EtcdError(f"coordinator.{setting}: {path} can't be read: {error}") from error


def read_user(path: Path) -> tuple[str, str]:
    """User and password of a file with one line `user:password`. Raises EtcdError, which never holds what is in it."""
    try:
        text = read_text_file(path, _CREDENTIALS_BYTES_MAX)
    except OSError as error:
        raise EtcdError(f"coordinator.etcd_user_file: {path} can't be read: {error}") from None
    user, colon, password = text.strip().partition(":")
    if not (user and colon and password) or "\n" in text.strip():
        raise EtcdError(f"coordinator.etcd_user_file: {path} must hold one line, user:password")
    return user, password
