"""fasttree.v1.ReportService: the calls, each a thin path from a request to an answer."""

from __future__ import annotations

from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.view import NodeView


class ReportServicer:
    """Answers reports from the node's tree. Used on the node's event loop; register it by `add_report_service`."""

    def __init__(self, view: NodeView, limits: ReportLimits | None = None) -> None:
        self._view = view
        self._limits = limits or ReportLimits()

    def close(self) -> None:
        """Ends the service's threads, once its streams have ended."""
