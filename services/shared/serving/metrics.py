"""Metrics of one service: OpenTelemetry instruments, read in Prometheus's text format."""

from __future__ import annotations

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """A meter of its own, so that several services can run in one process.

    Attributes:
        meter: Makes the instruments; their names begin with `fasttree_SERVICE_`.
    """

    def __init__(self, service: str) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        self._provider = MeterProvider(
            metric_readers=[reader], resource=Resource({"service.name": f"fasttree-{service}"}), shutdown_on_exit=False
        )
        self.meter: Meter = self._provider.get_meter(f"fasttree.{service}")

    def text(self) -> bytes:
        """All figures now."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Ends the instruments."""
        self._provider.shutdown()
