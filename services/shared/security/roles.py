"""The roles that are shipped: what each may call, where no policy file says otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from services.shared.security.policy import Content, Policy, Request, Rule, Source

_COORDINATOR: Final = "/fasttree.v1.CoordinatorService/"
_PUSHER: Final = "/fasttree.v1.PusherService/"
_NODE: Final = "/fasttree.v1.TreeNodeService/"
_REPORTS: Final = "/fasttree.v1.ReportService/"
_FILES: Final = "/fasttree.v1.ImportSourceService/DownloadImport"
#: Reports whose rows are members.
_MEMBER_REPORTS: Final = (
    "GetMember", "BatchGetMembers", "ListUpline", "ListFrontLine", "SummarizeDownline", "ListDownline",
    "StreamDownline", "SearchMembers", "ListHoldingTank",
)  # fmt: skip


def _of(service: str, *calls: str) -> list[str]:
    return [service + call for call in calls]


_SEE_CLUSTER: Final = _of(_COORDINATOR, "GetCluster", "WatchCluster")
_SEE_NODES: Final = _of(_NODE, "GetNode", "GetUpdateFate", "GetDigest", "ListLegDigests")
_SEE_PUSHER: Final = _of(_PUSHER, "GetPusher", "WatchImport")
_SEE_TREE: Final = _of(_REPORTS, "ListHeldUpdates", "ListRejectedUpdates", "DescribeTree")

#: How the names of those begin that a token names, in the place of a certificate.
TOKEN: Final = "token://"
#: Roles of processes, which have certificates: no token can name one.
MACHINES: Final = ("node", "pusher", "coordinator", "vip", "datatrax", "console")
#: Of these, those that a cluster consists of.
INSIDE: Final = ("node", "pusher", "coordinator", "vip")
_INSIDE: Final = re.compile(rf"spiffe://[^/]+/(?:{'|'.join(INSIDE)})/[^/]+")
#: What a policy calls the right to see members' personal columns in reports that one may have. It is no call.
PERSONAL_COLUMNS: Final = "/personal-columns"
#: Sees a member and its downline alone: in each report the engine cuts what is beyond
#: (`services/treenode/reports/copy/scope.py`).
LEADER: Final = "leader"

#: By role. A call that nobody has here is nobody's.
CALLS: Final[dict[str, list[str]]] = {
    # Its lease; the log, import files, snapshots and closed periods, from the pusher and from its peers.
    "node": [
        *_of(_COORDINATOR, "KeepAlive", "VouchPrimary"),
        *_SEE_CLUSTER,
        *_of(_PUSHER, "ReadLog", "ReadPersonal"),
        *_of(_NODE, "GetNode", "DownloadSnapshot"),
        _FILES,
    ],
    # Its term; updates and imports to the nodes; the log and the files of another pusher that it stands by for.
    "pusher": [
        *_of(_COORDINATOR, "KeepPusher"),
        *_of(_NODE, "ApplyUpdates", "LoadImport"),
        *_SEE_NODES,
        *_SEE_CLUSTER,
        *_of(_PUSHER, "GetPusher", "ReadLog"),
        _FILES,
    ],
    "coordinator": [*_SEE_CLUSTER],
    # It calls in its callers' names, and health by itself.
    "vip": [],
    "datatrax": [
        *_of(_PUSHER, "PushUpdates", "GetPusher"),
        *_SEE_CLUSTER,
        *_of(_REPORTS, *_MEMBER_REPORTS, "DescribeTree"),
        # Names and addresses of those whom it writes to.
        PERSONAL_COLUMNS,
        # It shows the nodes' logs where 2016 had them.
        "/debug*",
    ],
    # What an operator does in a browser, by the console's own certificate.
    "console": [
        *_of(_PUSHER, "PushUpdates", "RollbackImport", "SkipUpdate", "ReadLog", "GetErasure"),
        *_SEE_PUSHER,
        *_of(_COORDINATOR, "Switchover", "SwitchoverPusher", "Pause", "Resume"),
        *_SEE_CLUSTER,
        *_SEE_NODES,
        f"{_REPORTS}*",
        # What the parts of other machines show of themselves.
        "/audit",
        "/logs",
    ],
    "push-program": _of(_PUSHER, "PushUpdates"),
    "importer": _of(_PUSHER, "UploadImport", "WatchImport", "GetPusher", "GetImportProfile"),
    "reporter": _of(_REPORTS, *_MEMBER_REPORTS, "DescribeTree"),
    "personal-reporter": [*_of(_REPORTS, *_MEMBER_REPORTS, "DescribeTree"), PERSONAL_COLUMNS],
    # Of himself and his downline: the engine sees to that, whatever is asked for.
    "leader": _of(_REPORTS, *_MEMBER_REPORTS, "DescribeTree"),
    "operator": [
        # All but what a node does: people see personal values by the right to them alone.
        *_of(_PUSHER, "PushUpdates", "UploadImport", "WatchImport", "RollbackImport", "GetImportProfile", "GetPusher"),
        *_of(_PUSHER, "SkipUpdate", "EraseMember", "GetErasure", "AdoptLog", "ReadLog"),
        f"{_REPORTS}*",
        "/fasttree.v1.MessageService/*",
        *_of(_COORDINATOR, "Switchover", "SwitchoverPusher", "Pause", "Resume"),
        *_SEE_CLUSTER,
        *_SEE_NODES,
        "/grpc.reflection.*",
        "/metrics",
        "/status",
        "/debug*",
        # The console's pages of what lies on its machine.
        "/audit",
        "/logs",
    ],
    # All of how the cluster does, and no member.
    "auditor": [*_SEE_CLUSTER, *_SEE_PUSHER, f"{_PUSHER}GetErasure", *_SEE_NODES, *_SEE_TREE, "/metrics", "/audit"],
    "monitor": [*_SEE_CLUSTER, *_of(_PUSHER, "GetPusher"), "/metrics"],
}


def is_inside(principals: Sequence[str]) -> bool:
    """Whether a certificate with these names is one of the cluster's own parts'."""
    return any(map(_INSIDE.fullmatch, principals))


def inside_calls() -> frozenset[str]:
    """What the parts of a cluster ask each other, as shipped."""
    return frozenset(call for role in INSIDE for call in CALLS[role])


def shipped_policy(cluster: str) -> Policy:
    """Of the cluster whose name stands in its certificates."""
    rules = [Rule("health", request=Request(["/grpc.health.v1.Health/*"]))]
    for role, calls in CALLS.items():
        names = [f"spiffe://{cluster}/{role}/*", *([] if role in MACHINES else [f"{TOKEN}{role}/*"])]
        if calls:
            rules.append(Rule(role, Source(names), Request(calls)))
    return Policy(Content(f"the roles of {cluster}", rules))
