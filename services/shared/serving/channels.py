"""gRPC channels and their options: the same keepalive and size limits at both ends."""

from __future__ import annotations

import grpc
import grpc.aio

from services.shared.security.own import own_tls

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
#: Calls that wait for their turn at grpcio's server.
_PENDING_MAX = 10_000

_BOTH_ENDS: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
]
CHANNEL_OPTIONS: list[tuple[str, int]] = [
    *_BOTH_ENDS,
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_permit_without_calls", 1),
    # A channel that lost its server looks again at once; who uses it backs off by its own rules.
    ("grpc.initial_reconnect_backoff_ms", 50),
    # What one attempt has to end in, TLS and hello included (the name is gRPC's): a machine that is busy takes seconds,
    # and calls that wait for the attempt fail with it. Longer, and a machine that comes back is found later.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each part has its own connection: a full stream to one can't hold up another.
    ("grpc.use_local_subchannel_pool", 1),
]
_SERVER: list[tuple[str, int]] = [
    *_BOTH_ENDS,
    # Calls that came in one moment wait for their turn; gRPC itself would break off those beyond 1,000, without a word.
    ("grpc.server.max_pending_requests", _PENDING_MAX),
    ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING_MAX),
    # Two processes on one port would share its connections in silence.
    ("grpc.so_reuseport", 0),
    # Clients may ping more often than the default of every 5 minutes without being cut off; Envoy pings twice a second.
    ("grpc.http2.min_ping_interval_without_data_ms", 200),
    ("grpc.keepalive_permit_without_calls", 1),
]


#: What a call or stream has to finish in on a connection that was asked to end, in milliseconds: longer than any takes.
_AGED_CALL_MS_MAX = 3_600_000


def server_options(message_bytes_max: int, age_s_max: float) -> list[tuple[str, int]]:
    """Options of grpcio's server that takes requests up to that size, and asks each connection to end after about that
    time (0: never), and lets its calls finish. A client opens a new one for its next call, without noticing."""
    options = [*_SERVER, ("grpc.max_receive_message_length", message_bytes_max)]
    if age_s_max > 0:
        options += [
            ("grpc.max_connection_age_ms", max(1, int(age_s_max * 1_000))),
            ("grpc.max_connection_age_grace_ms", _AGED_CALL_MS_MAX),
        ]
    return options


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`, by this process's certificate where it has one. What is renewed counts from the next
    channel on: who stays with a server for long opens another one where it has lost it."""
    tls = own_tls()
    if tls is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    options = [*CHANNEL_OPTIONS, *tls.channel_options]
    return grpc.aio.secure_channel(address, tls.channel_credentials(), options=options)
