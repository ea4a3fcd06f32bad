"""Connections by TLS: handshakes that are counted and bounded as the connections are that come of them; who a peer is.

asyncio's own servers tell nobody of a connection whose handshake goes on or fails: any number of peers could stand
before the door. Here a connection has its place from its first byte.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from services.shared.serving.connections import End
from services.shared.serving.standard.auditing import note_stranger

logger = logging.getLogger(__name__)

#: What gRPC speaks, as TLS names it.
_ALPN = "h2"
#: For a peer's goodbye.
_SHUTDOWN_S = 5.0
#: Until the next try where nothing can be accepted, such as for want of descriptors.
_AGAIN_S = 1.0


class Connected(Protocol):
    """A connection, as its server needs it."""

    def tick(self, now_s: float) -> None:
        """Looks what is overdue."""

    def drain(self) -> None:
        """Asks the client to go, or ends at once where it has nothing to finish."""

    def end(self) -> None:
        """Breaks off what is under way."""


class Door(Protocol):
    """A server, as its handshakes need it."""

    @property
    def hello_s(self) -> float:
        """What a handshake has to end in."""

    def takes(self, connection: Connected) -> bool:
        """Whether there is room for one more."""

    def lost(self, connection: Connected, why: End | None) -> None:
        """One has ended, if it had a place."""


class TlsPort:
    """A listening socket whose connections begin with a handshake.

    Args:
        context: As it is when a connection comes.
        serve: Makes what has a connection once its handshake is over, given what had its place until then.
    """

    def __init__(
        self,
        server: Door,
        listening: socket.socket,
        context: Callable[[], ssl.SSLContext],
        serve: Callable[[Handshake], asyncio.Protocol],
    ) -> None:
        self._server = server
        self._listening = listening
        self._context = context
        self._serve = serve
        self._task = asyncio.get_running_loop().create_task(self._accept())
        self._task.add_done_callback(lambda _: listening.close())

    def close(self) -> None:
        """Takes no more; its port is free once `closed` has returned."""
        self._task.cancel()

    async def closed(self) -> None:
        """After `close`: another one may listen there from now on."""
        await asyncio.wait([self._task])
        # The loop lets go of the socket that was waited at.
        while self._listening.fileno() >= 0:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except ConnectionError:  # gone again
                continue
            except OSError as error:
                logger.warning("can't accept a connection: %s", error)
                await asyncio.sleep(_AGAIN_S)
                continue
            handshake = Handshake(self._server, connection)
            if self._server.takes(handshake):
                handshake.begin(self._context(), self._serve)
            else:
                connection.close()


class Handshake:
    """Has a connection's place until TLS stands, and its peer has said that it speaks HTTP/2."""

    def __init__(self, server: Door, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._peer = _address_of(connection)

    def begin(self, context: ssl.SSLContext, serve: Callable[[Handshake], asyncio.Protocol]) -> None:
        """Goes on by itself."""
        self._task = asyncio.get_running_loop().create_task(self._shake_hands(context, serve))

    async def _shake_hands(self, context: ssl.SSLContext, serve: Callable[[Handshake], asyncio.Protocol]) -> None:
        why = End.TLS
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: serve(self),
                self._connection,
                ssl=context,
                ssl_handshake_timeout=self._server.hello_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except OSError as error:  # no TLS, no certificate that is good, not in time, or gone
            logger.debug("a handshake failed: %s", error)
            if isinstance(error, ssl.SSLError):
                note_stranger("", _words(error), self._peer)
        except asyncio.CancelledError:
            why = End.DRAIN
        except Exception:
            logger.exception("a handshake is broken off")
            why = End.FAULT
        self._server.lost(self, why)  # where nothing has taken its place

    # As its server uses it.

    def tick(self, now_s: float) -> None:
        """It has a limit of its own."""

    def drain(self) -> None:
        """It has no calls that could finish."""
        self.end()

    def end(self) -> None:
        """Breaks it off."""
        self._task.cancel()


def _address_of(connection: socket.socket) -> str:
    try:
        return peer_name(connection.getpeername())
    except OSError:  # gone again
        return peer_name(None)


def _words(error: ssl.SSLError) -> str:
    """What OpenSSL says of a peer: why a certificate is not good, else what else is wrong."""
    return getattr(error, "verify_message", "") or (error.reason or "no TLS").lower().replace("_", " ")


def peer_name(name: Any) -> str:
    """An address as gRPC names peers."""
    if not isinstance(name, tuple):
        return "unix:"
    return f"ipv6:[{name[0]}]:{name[1]}" if ":" in name[0] else f"ipv4:{name[0]}:{name[1]}"


def speaks_http2(transport: asyncio.BaseTransport) -> bool:
    """Whether a peer has said so, where it came by TLS."""
    tls = transport.get_extra_info("ssl_object")
    return tls is None or tls.selected_alpn_protocol() == _ALPN


def auth_context(tls: ssl.SSLObject | None) -> dict[str, list[bytes]]:
    """What TLS knows of the peer, by the names that gRPC has for it; empty without TLS."""
    if tls is None:
        return {}
    found = {"transport_security_type": [b"ssl"], "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"]}
    der = tls.getpeercert(True)
    if der is None:
        return found
    certificate = cast("dict[str, Any]", tls.getpeercert() or {})
    names = [(kind, value.encode()) for kind, value in certificate.get("subjectAltName", ())]
    common = [value.encode() for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    by_kind = {"peer_dns": "DNS", "peer_uri": "URI", "peer_email": "email", "peer_ip": "IP Address"}
    found |= {
        "x509_common_name": common,
        "x509_pem_cert": [ssl.DER_cert_to_PEM_cert(der).encode()],
        "x509_subject_alternative_name": [value for _, value in names],
        **{name: [value for has, value in names if has == kind] for name, kind in by_kind.items()},
    }
    return {name: values for name, values in found.items() if values}


#: Whose values say who the peer is, the first that it has.
_IDENTITY = ("x509_subject_alternative_name", "x509_common_name")


def identity_key(context: dict[str, list[bytes]]) -> str | None:
    """The name of what says who the peer is; None where nothing does."""
    return next((name for name in _IDENTITY if name in context), None)
