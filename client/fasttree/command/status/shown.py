"""What `fasttree status` tells people: a title, a table of the nodes, and lines of what they have to know beside it."""

from __future__ import annotations

from collections.abc import Iterator

from fasttree.client.status.imports import ImportJson, ImportNodeJson
from fasttree.client.status.nodes import NOT_HEARD, NodeJson
from fasttree.command.screen.styled import Line, Style, Text, table_lines
from fasttree.command.status.log_status import log_lines
from fasttree.command.status.looking import Seen
from fasttree.command.status.pushers import coordinator_lines, not_named_lines, pusher_lines
from fasttree.command.status.stored import stored_lines

#: What a node's state means to who looks; of any other state: worth a look.
_STATES = {
    "primary": Style.GOOD,
    "passive": Style.PLAIN,
    "silent": Style.BAD,
    NOT_HEARD: Style.BAD,
    "unknown": Style.PLAIN,
}
#: How an import stands.
_IMPORTS = {"refused": Style.BAD, "done": Style.PLAIN, "superseded": Style.FAINT}


_CERTIFICATES = "FastTreeCertificate"
#: What a coordinator that stands by tells is that old at least where none has been active for a while.
_OLD_MS = 5_000


def status_lines(seen: Seen) -> Iterator[Line]:
    """All of it, but `Seen.problems`."""
    content = seen.content
    yield [Text(_title(seen), Style.HEAD)]
    yield from age_lines(content["view_age_ms"])
    yield from _nodes(content["nodes"])
    for node in content["nodes"]:
        if node.get("note"):
            mend = f"; see docs/operations.md, `A node has halted`, or fasttree log skip {node['fault_position']}"
            text = f"{node['node']}: {node['note']}" + (mend if node.get("fault_position") else "")
            yield [Text(text, Style.LOOK)]
    for text in log_lines(content["log"]) if content["log"] is not None else ():
        yield [Text(text)]
    for text in coordinator_lines(content["coordinators"]):
        yield [Text(text)]
    for text in pusher_lines(content["pushers"]):
        yield [Text(text)]
    for text in not_named_lines(content["pushers_not_named"], has_view=seen.has_view):
        yield [Text(text)]
    for text in stored_lines(content["stored_snapshots"]):
        yield [Text(text)]
    for problem in seen.found:
        if problem.alert.startswith(_CERTIFICATES) and not problem.fault:  # what is a fault is told at the end
            yield [Text(problem.text, Style.LOOK)]
    if content["note"]:
        yield [Text(f"note: {content['note']}", Style.LOOK)]
    for entry in content["imports"][:3]:
        yield [Text(_import_text(entry), _IMPORTS.get(entry["state"], Style.LOOK))]


def age_lines(view_age_ms: int | None) -> Iterator[Line]:
    """That nodes and pushers are shown as they were; nothing where that is no time ago."""
    if view_age_ms is not None and view_age_ms >= _OLD_MS:
        text = f"as a coordinator that stands by was told {view_age_ms / 1_000:.0f} s ago: nobody says how it is now"
        yield [Text(text, Style.LOOK)]


def _title(seen: Seen) -> str:
    content = seen.content
    title = content["cluster"] or "cluster unknown"
    if seen.has_view:
        title += f" · epoch {content['epoch']} · primary {content['primary'] or 'none'}"
        title += " · paused" if content["paused"] else ""
    if content["log"] is not None:
        title += f" · log at {content['log']['position']}" if content["log"]["log_id"] else " · no log"
    return title


def _nodes(nodes: list[NodeJson]) -> list[Line]:
    columns = ["node", "role", "state", "epoch", "import", "position", "lag"]
    rows = []
    for node in nodes:
        state, style = node["state"], _STATES.get(node["state"], Style.LOOK)
        if node.get("halted_before"):
            state, style = state + " (halted)", Style.BAD
        if node.get("loading_import_id"):
            state += f" (import {node['loading_import_id']}: {node['loading_percent']} %)"
        known = (node["import_id"], node["position"], node["lag"])
        figures = ["" if figure is None else str(figure) for figure in known]
        cells = [node["node"], node["role"], state, str(node.get("epoch") or ""), *figures]
        rows.append([Text(cell, style) if at == 2 else Text(cell) for at, cell in enumerate(cells)])
    return table_lines(columns, rows)


def _import_text(entry: ImportJson) -> str:
    done = ", ".join(
        f"{node['node']} {node['phase'] if node['phase'] in ('done', 'refused') else _phase(node)}"
        for node in entry["nodes"]
    )
    reasons = [node["reason"].removeprefix("import refused: ") for node in entry["nodes"] if node["reason"]]
    reason = f": {reasons[0]}" if reasons else ""
    return f"import {entry['import_id']} {entry['file_name']}: {entry['state']} ({done or 'no node yet'}){reason}"


def _phase(node: ImportNodeJson) -> str:
    return f"{node['phase']} {node['percent']} %"
