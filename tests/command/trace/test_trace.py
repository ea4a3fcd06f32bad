"""`fasttree trace`: an update that was traced, and one that was not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from fasttree.command.trace.spans import find_spans
from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.telemetry.context import TraceContext
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.sinks.span_file import SpanFile
from services.shared.telemetry.spans import Kind, Span, Value
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster

_APPEND = TraceContext(0xABC, 0x1)
_OTHER = TraceContext(0xDEF, 0x9)
_T = 1_795_827_342_000_000_000


def _span(name: str, kind: Kind, context: TraceContext, begun_ms: float, took_ms: float, **more: Value) -> Span:
    begun_ns = _T + int(begun_ms * 1e6)
    attributes = {key.replace("__", "."): value for key, value in more.items()}
    return Span(name, kind, context, 0, begun_ns, begun_ns + int(took_ms * 1e6), attributes)


def _write(path: Path, service: str, instance: str, *spans: Span) -> None:
    """As that service writes them."""
    resource = {"service.name": f"fasttree-{service}", "service.instance.id": instance}
    SpanFile(TelemetrySettings(file=str(path)), lambda: resource).send(spans)


@pytest.fixture
def spans(tmp_path: Path) -> Path:
    """Of update o2, which is traced, and o3, which is in its batch; and of much else."""
    path = tmp_path / "spans.jsonl"
    batch = _span("send log", Kind.CLIENT, TraceContext(0x777, 0x7), 5, 0.25, server__address="h", server__port=1)
    _write(
        path,
        "pusher",
        "p1",
        _span("append log", Kind.PRODUCER, _APPEND, 0, 4, messaging__message__id="o2", fasttree__log__position=2),
        _span("append log", Kind.PRODUCER, _OTHER, 0, 4, messaging__message__id="o22", fasttree__log__position=3),
        batch._replace(links=[_APPEND, _OTHER]),
        _span("fasttree.v1.PusherService/GetPusher", Kind.SERVER, TraceContext(0x5, 0x5), 1, 1),
    )
    path.open("a").write('{"resourceSpans": [cut off "o2"\nnull\n')
    for node, begun_ms in (("n2", 8.0), ("n1", 7.5)):
        _write(
            path,
            "treenode",
            node,
            _span(
                "process log",
                Kind.CONSUMER,
                TraceContext(0xABC, 0x20 + int(begun_ms)),
                begun_ms,
                1.5,
                messaging__consumer__group__name=node,
                fasttree__log__position=2,
                fasttree__outcome="APPLIED",
                fasttree__wait_s=0.000218135002796771,
            ),
        )
    return path


def test_its_spans_are_found_among_all_others(spans: Path) -> None:
    found = find_spans([spans], "o2")
    assert [(span.name, span.service, span.instance, span.linked) for span in found] == [
        ("append log", "pusher", "p1", False),
        ("send log", "pusher", "p1", True),
        ("process log", "treenode", "n1", False),
        ("process log", "treenode", "n2", False),
    ]
    assert found[2].told == "log.position 2, outcome APPLIED, wait_s 0.000218"
    assert find_spans([spans], "o") == []


@pytest.fixture
async def traced(cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[FastTree]:
    """The nodes' logs of updates have o1 to o3, but for n2's, which lacks o3."""
    lines = (
        "2026-11-28T00:55:42.394Z 1 o1 volume A +1.00 applied\n"
        "2026-11-28T00:55:42.394Z 2 o2 enrolled B sponsor A held: A is not known\n"
    )
    logs = {"n1": lines + "2026-11-28T00:55:43.000Z 3 o3 volume A +1.00 rejected: no\n", "n2": lines}
    for number in range(1, 5):
        cluster.pusher.updates.append(types_pb2.Update(update_id=f"o{number}"))
    async with AsyncExitStack() as until_then:
        places = {}
        for name, text in logs.items():
            application = web.Application()
            application.router.add_get("/debug/hpushup.log", partial(_page, text))
            runner = web.AppRunner(application)
            await runner.setup()
            until_then.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            places[name] = f"127.0.0.1:{runner.addresses[0][1]}"
        nodes = tuple(replace(node, http=places[node.name]) for node in cluster.endpoints.nodes)
        yield FastTree(tmp_path, replace(cluster.endpoints, nodes=nodes))


async def _page(text: str, _: web.Request) -> web.Response:
    return web.Response(text=text)


async def test_a_traced_update_is_shown_from_the_disk_to_each_node(traced: FastTree, spans: Path) -> None:
    ran = await traced("trace", "o2", "--spans", str(spans))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"o2 · position 2 · trace {0xABC:032x}",
        "from 2026-11-28T00:55:42.000Z, in milliseconds",
        "   at   took  where        what                           of it",
        "0.000  4.000  pusher p1    append log                     log.position 2",
        "5.000  0.250  pusher p1    send log (a batch of several)  to h:1",
        "7.500  1.500  treenode n1  process log                    log.position 2, outcome APPLIED, wait_s 0.000218",
        "8.000  1.500  treenode n2  process log                    log.position 2, outcome APPLIED, wait_s 0.000218",
        "node  applied at                outcome",
        "n1    2026-11-28T00:55:42.394Z  held: A is not known",
        "n2    2026-11-28T00:55:42.394Z  held: A is not known",
    ]


async def test_what_was_held_is_told_with_what_became_of_it(traced: FastTree, cluster: FakeCluster) -> None:
    first, second = cluster.nodes

    async def told() -> list[str]:
        return [node["outcome"] for node in (await traced("trace", "o2", "--json")).json["nodes"]]

    held = "held: A is not known"
    first.fates[2] = treenode_pb2.UPDATE_FATE_TAKEN
    second.fates[2] = treenode_pb2.UPDATE_FATE_HELD
    assert await told() == [f"applied later ({held})", held]
    cluster.reports.rejected_reason, cluster.reports.rejected_position = "dropped", 2
    second.fates[2] = treenode_pb2.UPDATE_FATE_SKIPPED
    assert await told() == [f"rejected later: dropped ({held})", f"skipped later ({held})"]


async def test_the_settings_say_where_spans_are(traced: FastTree, spans: Path, tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text(f'[telemetry]\nfile = "{spans}"\n')
    ran = await traced("trace", "o2", "--json")
    assert (ran.json["traced"], ran.json["position"], len(ran.json["spans"])) == (True, 2, 4)
    assert [node["node"] for node in ran.json["nodes"]] == ["n1", "n2"]


async def test_one_that_was_not_traced_is_told_as_far_as_it_is_known(traced: FastTree) -> None:
    ran = await traced("trace", "o3")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "o3 · position 3 · not traced"
    assert lines[1].startswith("it was not sampled (telemetry.sample_ratio")
    assert lines[3].split(maxsplit=2) == ["n1", "2026-11-28T00:55:43.000Z", "rejected: no"]
    assert "no line of its log of updates" in lines[4]


async def test_one_that_the_log_alone_has_is_found_there(traced: FastTree) -> None:
    found = (await traced("trace", "o4", "--json")).json
    assert (found["position"], found["traced"]) == (4, False)
    ran = await traced("trace", "o1", "--position", "1", "--json")
    assert ran.json["position"] == 1


async def test_one_that_nobody_knows_is_an_error(traced: FastTree, cluster: FakeCluster) -> None:
    ran = await traced("trace", "o9")
    assert ran.code == 1
    assert ran.err.startswith("error: nobody here knows an update o9; it is not among the log's newest 100,000")
    await cluster.pusher.stop()
    ran = await traced("trace", "o9", "--timeout", "0.5", "--json")
    assert ran.code == 1
    assert "the log could not be asked: " in ran.err
    assert json.loads(ran.out)["notes"]
