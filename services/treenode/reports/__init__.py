"""The report service of a tree node: filters, pages, summaries, streams over the engine's columns."""

from services.treenode.reports.copy.gate import ReadGate
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.service import ReportServicer
from services.treenode.reports.serving import add_report_service
from services.treenode.reports.view import NodeView

__all__ = ["NodeView", "ReadGate", "ReportLimits", "ReportServicer", "add_report_service"]
