"""The report service of a tree node.

A request enters (`serving` registers the calls, `service` has one method for each), an answer leaves as bytes. On the
way, room by room: `plan` says what is asked for, `copy` takes it out of the tree as of one position, `order` or
`summaries` make of it what is shown, `encode` writes it, `streams` sends what is long. What they hand to each other is
a `Column` (`columns`: the one list of them), and `FrozenRows` (`rows`). The node is seen through `NodeView` alone.
"""

from services.treenode.reports.copy.gate import ReadGate
from services.treenode.reports.copy.view import NodeView
from services.treenode.reports.limits import ReportLimits
from services.treenode.reports.service import ReportServicer
from services.treenode.reports.serving import add_report_service

__all__ = ["NodeView", "ReadGate", "ReportLimits", "ReportServicer", "add_report_service"]
