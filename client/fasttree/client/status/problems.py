"""What is wrong with a cluster, worst first, each with the alert of docs/alerts.md that tells the way out.

A fault heals by nothing but an operator: `fasttree status` ends with exit code 1 where there is one. What is no fault
is worth a look, and is told beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

from fasttree.client.status.cluster import ClusterJson, DifferenceJson
from fasttree.client.status.nodes import NOT_HEARD, NodeJson
from fasttree.client.status.pushers import PusherJson
from fasttree.client.status.servers import ServersJson

#: The mend of what a service says with the mend in it.
AS_IT_SAYS = "as it says"
#: As the alerts of certificates have it: soon over, and nearly over.
CERTIFICATE_SOON_S = 604_800.0
CERTIFICATE_OVER_S = 86_400.0
#: In the note of a coordinator whose disk does not take its record; its primary stays.
_NOT_WRITTEN = "cannot write its state"
#: In the note of a pusher whose name a second process asks for.
_NAME_TAKEN = "another process asks for its name"
#: A node that lacks more than this is said to lag. Few updates are under way at any moment.
LAG_UPDATES = 10_000


class ProblemJson(TypedDict):
    """Something that is wrong, or worth a look."""

    text: str
    alert: str
    fault: bool


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One line, and where docs/alerts.md says what to do."""

    text: str
    alert: str
    #: It does not heal by itself, or nobody answers.
    fault: bool = False
    #: The way out, where more is known of it than the alert's row says, or the text has it; empty: that row.
    mend: str = ""

    def json(self) -> ProblemJson:
        """As JSON has it."""
        return {"text": self.text, "alert": self.alert, "fault": self.fault}


def problems_of(content: ClusterJson) -> list[Problem]:
    """Of what `status_json` says: faults first."""
    found = [*_faults(content), *_soon_over(content, datetime.now(UTC)), *_looks(content)]
    return sorted(found, key=lambda problem: not problem.fault)


def _soon_over(content: ClusterJson, now: datetime) -> Iterator[Problem]:
    """Certificates that somebody has to renew: what renews them by itself would have done it long before."""
    for each in content["certificates"]:
        left_s = (datetime.fromisoformat(each["expires"]) - now).total_seconds()
        if left_s >= CERTIFICATE_SOON_S:
            continue
        left = f"is good for {left_s / 3_600:.0f} h more" if left_s > 0 else "is good no more"
        alert = "FastTreeCertificateOver" if left_s < CERTIFICATE_OVER_S else "FastTreeCertificateSoonOver"
        text = f"{each['part']}: its certificate {left}: see docs/security.md"
        yield Problem(text=text, alert=alert, fault=left_s < CERTIFICATE_OVER_S)


def _faults(content: ClusterJson) -> Iterator[Problem]:
    for difference in content["differences"]:
        yield Problem(text=_difference_text(difference), alert="FastTreeNodesDiffer", fault=True)
    for node in content["nodes"]:
        if node.get("import_unknown"):  # of one that did not answer nothing is known
            mend = "see docs/operations.md, `An import of somebody else`"
            text = f"{node['node']} serves import {node['import_id']}, which the pusher never gave: {mend}"
            yield Problem(text=text, alert="FastTreeImportUnknown", fault=True)
    for each in content["audit"]:
        mend = "make room on its disk, or mend who may write there; its log names the file"
        text = f"{each['part']} can't write its audit log, so {each['problem']}: {mend}"
        yield Problem(text=text, alert="FastTreeAuditNotWritten", fault=True)
    for each in content["sealing"]:
        mend = "mend that before it ends: it goes on with the keys that it has, and would not start anew"
        text = f"{each['part']} can't use its file of keys: {each['problem']}: {mend}"
        yield Problem(text=text, alert="FastTreeKeysUnusable", fault=True)
    for each in content["security"]:
        mend = "mend that before it ends: see docs/security.md"
        text = f"{each['part']} goes by what it had before: {each['problem']}: {mend}"
        yield Problem(text=text, alert="FastTreeSecurityFilesUnusable", fault=True)
    yield from _of_unfit(content["pushers"])
    log = content["log"]
    if log is None:
        return
    if log["damage"]:
        yield Problem(text=log["damage"], alert="FastTreeLogDamaged", fault=True)
    if log["closed"] and log["closed"] != log["damage"]:
        text = f"no pushes are taken: {log['closed']}"
        yield Problem(text=text, alert="FastTreePushesRefused", fault=True, mend=AS_IT_SAYS)


def _of_unfit(pushers: list[PusherJson]) -> Iterator[Problem]:
    """Those that can't be active, by why. Where another one is, nobody waits for them."""
    by_note: dict[str, list[str]] = {}
    for each in pushers:
        if each["state"] == "unfit":
            by_note.setdefault(each["note"], []).append(each["pusher"])
    is_fault = all(each["state"] != "active" for each in pushers)
    for note, names in by_note.items():
        text = f"{', '.join(names)} can't be active: {note}"
        yield Problem(text=text, alert="FastTreePusherUnfit", fault=is_fault, mend=AS_IT_SAYS)


def server_problems(servers: ServersJson, *, has_view: bool) -> Iterator[Problem]:
    """Of those of the client's lists; of a list of one, whether it answers is told by who asked. `has_view`: of several
    coordinators one said how the cluster is, or was; where none did, that is the fault."""
    coordinators, pushers_not_named = servers["coordinators"], servers["pushers_not_named"]
    active = [each["address"] for each in coordinators if each["state"] == "active"]
    if len(active) > 1:
        text = f"{' and '.join(active)} both say that they are the active coordinator"
        mend = "have all coordinators keep one record: the same coordinator.store, at one place"
        yield Problem(text=text, alert="", fault=True, mend=mend)
    for each in coordinators if len(coordinators) > 1 else ():
        if each["state"] == "not reached":
            text = f"the coordinator at {each['address']} can't be reached: {each['note']}"
            mend = "start it there, or look at its log; else it is the way from here: its address, a firewall"
            yield Problem(text=text, alert="FastTreeServiceDown", fault=has_view and not active, mend=mend)
        elif each["state"] == "unfit":
            text = f"the coordinator at {each['address']} {each['note']}"
            mend = "its way to the store, or the store itself: until then its turn does not come"
            yield Problem(text=text, alert="", fault=has_view and not active, mend=mend)
    for each in pushers_not_named if has_view else ():
        if each["state"] == "not reached":
            why = f"nor can it be reached from here: {each['note']}"
            text = f"the coordinator has not heard the pusher at {each['address']}, {why}"
            mend = "start it there, or look at its log; or take its address out of the endpoints file"
        else:
            says = f": {each['note']}" if each["note"] else ""
            text = f"the coordinator has not heard the pusher at {each['address']}, which answers{says}"
            mend = "its log says why: the coordinators that it is told of (cluster.coordinator), and its pusher.name"
        yield Problem(text=text, alert="FastTreeServiceDown", mend=mend)


def _difference_text(difference: DifferenceJson) -> str:
    named, others = ", ".join(difference["nodes"]), ", ".join(difference["others"])
    where = f"at import {difference['import_id']}, position {difference['position']}"
    return f"{named} differ{f' from {others}' if others else ''} {where}: see docs/operations.md, `Two nodes differ`"


def _looks(content: ClusterJson) -> Iterator[Problem]:
    if content["primary"] == "":
        why = f": {content['note']}" if content["note"] else ""
        yield Problem(text=f"no node is primary{why}; every ready node serves", alert="FastTreeNoPrimary")
    elif content["note"]:
        alert = "FastTreeDiskAlmostFull" if _NOT_WRITTEN in content["note"] else "FastTreeNoPrimary"
        yield Problem(text=content["note"], alert=alert)
    if content["paused"]:
        text = "elections are paused: a primary that fails is not replaced until `fasttree resume`"
        yield Problem(text=text, alert="FastTreeElectionsPaused")
    for each in content["pushers"]:
        if _NAME_TAKEN in each["note"]:
            text = f"the pusher {each['pusher']}: {each['note']}"
            yield Problem(text=text, alert="FastTreeNameTakenTwice", mend=AS_IT_SAYS)
        if each["state"] == "silent":
            text = f"the pusher {each['pusher']} has been silent for {each['silent_ms'] / 1_000:.0f} s"
            yield Problem(text=text, alert="FastTreeServiceDown")
    ready = [node["node"] for node in content["nodes"] if node["state"] in ("primary", "passive")]
    for node in content["nodes"]:
        yield from _of_node(node)
    if len(ready) == 1 and len(content["nodes"]) > 1:
        text = f"{ready[0]} alone is ready: another failure would end reports"
        yield Problem(text=text, alert="FastTreeNodeNotReady")
    for entry in content["imports"][:1]:
        if entry["state"] == "refused":
            reasons = [node["reason"].removeprefix("import refused: ") for node in entry["nodes"] if node["reason"]]
            text = f"import {entry['import_id']} was refused: {reasons[0] if reasons else 'no node says why'}"
            yield Problem(text=text, alert="FastTreeNodeNotReady")


def _of_node(node: NodeJson) -> Iterator[Problem]:
    name = node["node"]
    if node.get("halted_before"):
        skip = f"; or `fasttree log skip {node['fault_position']}`" if node.get("fault_position") else ""
        text = f"{name} has halted before {node['halted_before']}: {node.get('halt_reason') or node['note']}{skip}"
        yield Problem(text=text, alert="FastTreeNodeHalted")
    elif node["state"] == "silent":
        text = f"{name} has been silent for {node['silent_ms'] / 1_000:.0f} s"
        yield Problem(text=text, alert="FastTreeServiceDown")
    elif node["state"] == NOT_HEARD:
        text = f"the coordinator has not heard {name}, which the endpoints file names"
        mend = "start it, or look at its log; or take it out of the endpoints file"
        yield Problem(text=text, alert="FastTreeServiceDown", mend=mend)
    elif node["state"] not in ("primary", "passive", "unknown"):
        text = f"{name} is not ready: {node['state'] or 'nobody says what it does'}"
        yield Problem(text=text, alert="FastTreeNodeNotReady")
    elif node["connected"] is False:
        text = f"{name} gets no updates: {node['note'] or 'the pusher does not reach it'}"
        yield Problem(text=text, alert="FastTreeAnswersOld")
    elif node["note"]:
        yield Problem(text=f"{name}: {node['note']}", alert="FastTreeAnswersOld")
    if (node["lag"] or 0) > LAG_UPDATES:
        yield Problem(text=f"{name} lacks {node['lag']:,} updates", alert="FastTreeNodeLags")
