"""How a service's gRPC ports are served: the same three questions for each service."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from services.shared.config.bounds import Seconds
from services.shared.config.sections import Settings
from services.shared.serving.callers.settings import CallerSettings


class ServingSettings(Settings, frozen=True, kw_only=True):
    """Of the gRPC ports of one service."""

    #: What serves gRPC: this project's own server on libnghttp2, or that of grpcio. They answer alike; the first takes
    #: a fraction of the time for a call. Where the package ngh2 is missing, grpcio serves and the log says so.
    server: Annotated[str, Meta(pattern=r"\A(?:nghttp2|grpcio)\Z", description="nghttp2 or grpcio")] = "nghttp2"
    #: Calls under way at the same time, of one port; one more is refused (RESOURCE_EXHAUSTED). There may be as many
    #: again where the last ones are health checks, or what the cluster's parts ask each other.
    calls_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    #: Connections at the same time, of one port; one more is closed as it comes. grpcio knows no such limit.
    connections_max: Annotated[int, Meta(ge=1, le=100_000)] = 5_000
    #: A call that waited so long for its turn, in seconds, or for three quarters of the time that its caller gives it,
    #: is refused (RESOURCE_EXHAUSTED), so that another one is answered in time. grpcio knows no such limit.
    queue_s_max: Seconds = 5.0
    #: What one caller may have of that.
    callers: CallerSettings = field(default_factory=CallerSettings)
