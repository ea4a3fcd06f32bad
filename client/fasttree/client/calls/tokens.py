"""The token that a client sends with each call: a file, read again once it has changed."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from fasttree.client.errors import TokenFileError
from fasttree.client.files import open_regular

logger = logging.getLogger(__name__)

#: A file, for clients that are told nothing else.
VARIABLE: Final = "FASTTREE_TOKEN_FILE"
_HEADER: Final = "authorization"
#: How often the file is looked at, while calls are made.
_LOOK_S: Final = 1.0
_BYTES_MAX: Final = 8 << 10
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class TokenFile:
    """Where the token is: a file with nothing else in it, for its owner alone.

    `in_clear`: it is sent without TLS to other machines too, because the network between is closed. Else it is sent by
    TLS, and on this machine.
    """

    path: str
    in_clear: bool = False

    @classmethod
    def of_environment(cls) -> TokenFile | None:
        """The one that the environment names; None where it names none."""
        path = os.environ.get(VARIABLE)
        return cls(path=path) if path else None

    def read(self) -> str:
        """The token now. Raises TokenFileError, in which nothing of it is."""
        try:
            with open_regular(Path(self.path)) as file:
                content = file.read(_BYTES_MAX + 1)
        except OSError as error:
            raise TokenFileError(f"{self.path}: can't read the token: {error.strerror or error}") from None
        token = content.decode("ascii", "replace").strip()
        if len(content) > _BYTES_MAX or _TOKEN.fullmatch(token) is None:
            raise TokenFileError(f"{self.path}: there is no token in it: log in again, or `fasttree token issue`")
        return token

    def check_way(self, address: str, *, by_tls: bool) -> None:
        """Raises TokenFileError where whoever stands between could take it."""
        if not (by_tls or self.in_clear or is_here(address)):
            raise TokenFileError(
                f"{self.path}: will not send a token to {address} in clear, where others can read it: name "
                "certificates, or say that the network is closed (token_in_clear)"
            )


class Token:
    """What the next call sends. Raises TokenFileError where the file can't be used now."""

    def __init__(self, file: TokenFile) -> None:
        self.file = file
        self._stamp = self._look()
        self._looked_s = time.monotonic()
        self._header = f"Bearer {file.read()}"

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """As the file is; as it was before, where it can't be read."""
        if time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            stamp = self._look()
            if stamp != self._stamp:
                try:
                    self._header = f"Bearer {self.file.read()}"
                    self._stamp = stamp
                except TokenFileError as error:
                    logger.warning("%s; goes on with the token of before", error)
        return ((_HEADER, self._header),)

    def _look(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self.file.path)
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_size, found.st_mtime_ns)


class GivenToken:
    """One of somebody else, in whose name a call is made."""

    def __init__(self, token: str) -> None:
        self._metadata = ((_HEADER, f"Bearer {token}"),)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Always the same."""
        return self._metadata


class TokenChannel(grpc.aio.Channel):
    """A channel whose calls bring the token. `channel`: the one below, which brings none."""

    def __init__(self, channel: grpc.aio.Channel, token: Token | GivenToken) -> None:
        self.channel, self._token = channel, token

    def _with_token(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, metadata: Any = None, **kwargs: Any) -> Any:
            return method(*args, metadata=(*(metadata or ()), *self._token.metadata()), **kwargs)

        return call

    # As gRPC has it.

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self.channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self.channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self.channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self.channel.stream_stream(*args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        await self.channel.close(grace)

    async def __aenter__(self) -> TokenChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.channel.channel_ready()


def is_here(address: str) -> bool:
    """Whether only this machine hears it; a name counts as one where it is localhost alone, whatever it leads to."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
