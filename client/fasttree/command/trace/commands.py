"""`fasttree trace`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import click

from fasttree.client import CallError, Client, EndpointsError, NodeEndpoint
from fasttree.command.output import print_json
from fasttree.command.ranges import COUNT, POSITION
from fasttree.command.screen.styled import Line, Style, Text, print_lines, table_lines
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.trace.known import OnNode, on_nodes, record_of, with_fates
from fasttree.command.trace.spans import FoundSpan, SpanJson, files_of, find_spans
from fasttree.v1 import treenode_pb2

_SEARCHED = 100_000
_TRACE_ID_BYTES = 16


class WayJson(TypedDict):
    """An update's way; null: not known."""

    update_id: str
    position: int | None
    traced: bool
    trace_id: str | None
    spans: list[SpanJson]
    nodes: list[OnNode]
    notes: list[str]


class Way(NamedTuple):
    """What was found of one update."""

    update_id: str
    #: 0: nobody knows it.
    position: int
    #: Empty: it was not traced, as far as anybody knows.
    trace_id: str
    spans: list[FoundSpan]
    nodes: list[OnNode]
    #: What could not be looked at.
    notes: list[str]

    @property
    def json(self) -> dict[str, Any]:
        """As `WayJson` has it."""
        return {
            "update_id": self.update_id,
            "position": self.position or None,
            "traced": bool(self.trace_id),
            "trace_id": self.trace_id or None,
            "spans": [span.json for span in self.spans],
            "nodes": [node.json for node in self.nodes],
            "notes": self.notes,
        }


@click.command()
@prints(WayJson)
@click.argument("update_id", metavar="ID")
@click.option("--position", type=POSITION, help="Where it is in the log, if that is known: saves the search.")
@click.option(
    "--search",
    type=COUNT,
    default=_SEARCHED,
    show_default=True,
    help="Newest log records that are looked through for it, where nobody else knows its position.",
)
@click.option(
    "--spans",
    "span_files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file that services write spans to; that of `telemetry.file` of the settings here where not given.",
)
@common_options
def trace(session: Session, update_id: str, position: int | None, search: int, span_files: tuple[Path, ...]) -> None:
    """One update's way from the client to each node, with times. ID: its update_id.

    By the spans where it was traced and they are in a file here; a collector shows the same under the trace's id, which
    is told. Where it was not traced, or the spans are gone: its position, and when each node applied it.
    """
    way = run(_find(session, update_id, position or 0, search, list(span_files) or _own_files(session)))
    if session.json:
        print_json(way.json)
    elif way.position or way.spans:
        print_lines(list(_lines(way)))
    if not (way.position or way.spans):
        raise CommandError("; ".join([f"nobody here knows an update {update_id}", *way.notes]))


def _own_files(session: Session) -> list[Path]:
    """As the settings of a cluster that is kept here have it, and the environment."""
    from fasttree.command.settings.reading import settings_in_force  # it loads the settings of every service

    with contextlib.suppress(CommandError):
        home = session.endpoints_file().parent
        settings = home / "cluster.toml"
        for each in settings_in_force(settings if settings.exists() else None, ()):
            if (each.section, each.field) == ("telemetry", "file"):
                return files_of(home / each.value) if each.value else []
    return []


async def _find(session: Session, update_id: str, position: int, search: int, files: list[Path]) -> Way:
    notes: list[str] = []
    try:
        spans = await asyncio.to_thread(find_spans, files, update_id)
    except OSError as error:
        spans, notes = [], [f"{error.filename}: {error.strerror}"]
    position = position or next((at for each in spans if (at := _position_of(each))), 0)
    async with session.client() as client:
        places = await _nodes(client, notes)
        nodes = await on_nodes(client, places, update_id)
        position = position or next((node.position for node in nodes if node.position), 0)
        record: treenode_pb2.LogRecord | None = None
        try:
            record = await record_of(client, update_id, position, search)
            if record is None and not position:
                notes.append(f"it is not among the log's newest {search:,} records (--search looks further)")
        except (CallError, EndpointsError) as error:
            notes.append(f"the log could not be asked: {error}")
        if record is not None:
            nodes = await with_fates(client, places, nodes, update_id, record.position)
            position = record.position
    trace_id = record.trace[:_TRACE_ID_BYTES].hex() if record is not None and record.trace else ""
    trace_id = trace_id or next((span.trace_id for span in spans if not span.linked), "")
    return Way(update_id, position if record is not None or spans or _seen(nodes) else 0, trace_id, spans, nodes, notes)


def _seen(nodes: list[OnNode]) -> bool:
    return any(node.position for node in nodes)


def _position_of(span: FoundSpan) -> int:
    return int(span.attributes.get("fasttree.log.position", 0)) if not span.linked else 0


async def _nodes(client: Client, notes: list[str]) -> tuple[NodeEndpoint, ...]:
    try:
        return await client.nodes()
    except (CallError, EndpointsError) as error:
        notes.append(f"only the nodes of the endpoints file were asked: {error}")
        return client.endpoints.nodes


def _lines(way: Way) -> Iterator[Line]:
    where = f"position {way.position}" if way.position else "position unknown"
    traced = f"trace {way.trace_id}" if way.trace_id else "not traced"
    yield [Text(f"{way.update_id} · {where} · {traced}", Style.HEAD)]
    if way.spans:
        begun_ns = way.spans[0].begun_ns
        yield [Text(f"from {_time(begun_ns)}, in milliseconds")]
        yield from table_lines(["at", "took", "where", "what", "of it"], [_cells(span, begun_ns) for span in way.spans])
    elif way.trace_id:
        yield [Text("its spans are in no file here: look that trace up where they are collected, or name --spans FILE")]
    else:
        yield [Text("it was not sampled (telemetry.sample_ratio, docs/telemetry.md); what is known all the same:")]
    columns = ["node", "applied at", "outcome"]
    rows = [[Text(node.node), Text(node.applied_at), Text(_said(node), _style(node))] for node in way.nodes]
    yield from table_lines(columns, rows)
    for note in way.notes:
        yield [Text(note, Style.LOOK)]


def _said(node: OnNode) -> str:
    return ": ".join(filter(None, (node.outcome, node.problem)))


def _style(node: OnNode) -> Style:
    return Style.GOOD if node.outcome.startswith("applied") else Style.LOOK


def _cells(span: FoundSpan, begun_ns: int) -> list[Text]:
    name = span.name if not span.linked else f"{span.name} (a batch of several)"
    where = " ".join(dict.fromkeys((span.service, span.instance)))
    return [
        Text(f"{(span.begun_ns - begun_ns) / 1e6:.3f}"),
        Text(f"{span.took_ms:.3f}"),
        Text(where),
        Text(name, Style.BAD if span.error else Style.PLAIN),
        Text(span.told),
    ]


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
