"""A real cluster that tells a collector of itself: one update is one trace from its caller to both nodes, also where a
node reads it later; an import is one; and a collector that is away costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from bench.servers.collector import Collector, values
from fasttree.client import Client, PushOptions
from fasttree.v1 import pusher_pb2, types_pb2
from tests.end_to_end.library_tree import LibraryTree
from tests.waiting import until

WAIT_S = 60.0
ALL_NODES = PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)


def order(number: int, member_id: str) -> types_pb2.Update:
    posted = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=100)
    return types_pb2.Update(update_id=f"order-{number}", volume_posted=posted)


async def push(client: Client, update: types_pb2.Update, options: PushOptions = ALL_NODES) -> pusher_pb2.Receipt:
    (receipt,) = [receipt async for receipt in client.push([update], options)]
    assert not receipt.code, receipt
    return receipt


async def spans_come(collector: Collector, trace_id: int, names: dict[str, int]) -> None:
    """Waits until so many spans of each name are there, of one trace."""
    wanted = trace_id.to_bytes(16, "big")

    async def there() -> bool:
        return all(len(collector.named(name, wanted)) == count for name, count in names.items())

    await wait_for(there, WAIT_S, f"{names} of trace {trace_id:032x}")


async def test_updates_and_imports_are_traced(library: LibraryTree, library_csv: Path, tmp_path: Path) -> None:
    tracer = TracerProvider().get_tracer("test")
    collector = Collector()
    async with collector:
        settings = {
            "endpoint": collector.address,
            "interval_s": "0.1",
            "timeout_s": "1",
            "sample_ratio": "0",
            "metrics_interval_s": "0.2",
        }
        arguments = [f"--set=telemetry.{name}={value}" for name, value in settings.items()]
        async with (
            running_cluster(tmp_path / "cluster", arguments=tuple(arguments)) as cluster,
            Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
        ):
            with tracer.start_as_current_span("nightly import") as caller:
                manifest = await client.upload_import(library_csv)
                _ = [status async for status in client.watch_import(manifest.import_id, patience_s=WAIT_S)]
            await import_is_one_trace(collector, caller.get_span_context().trace_id)

            with tracer.start_as_current_span("order") as caller:
                receipt = await push(client, order(1, library.member_ids[0]))
            await update_is_one_trace(collector, caller.get_span_context().trace_id, receipt.position)

            await push(client, order(2, library.member_ids[0]))  # its caller has no trace
            with tracer.start_as_current_span("order") as caller:
                await push(client, order(3, library.member_ids[0]))
            await spans_come(collector, caller.get_span_context().trace_id, {"process log": 2})
            await until(
                lambda: len(collector.named("append log")) >= 2, "the pusher's spans"
            )  # the nodes' may be first
            assert len(collector.named("append log")) == 2

            await figures_are_told(collector, set(cluster.node_names), receipt.position)
            await node_that_was_away_goes_on(cluster, client, collector, library)
            await collector_away(cluster, client, collector, library)


async def update_is_one_trace(collector: Collector, trace_id: int, position: int) -> None:
    wanted = trace_id.to_bytes(16, "big")
    await spans_come(collector, trace_id, {"append log": 1, "send log": 2, "process log": 2})
    ((pusher, append),) = collector.named("append log", wanted)
    told = values(append.attributes)
    assert (pusher["service.name"], told["messaging.message.id"]) == ("fasttree-pusher", "order-1")
    assert told["fasttree.log.position"] == position
    assert append.parent_span_id  # the client's own span, which the caller's provider has
    for name, service in {"send log": "fasttree-pusher", "process log": "fasttree-treenode"}.items():
        for resource, span in collector.named(name, wanted):
            assert (resource["service.name"], span.parent_span_id) == (service, append.span_id)
            assert span.start_time_unix_nano <= span.end_time_unix_nano
    processed = collector.named("process log", wanted)
    assert {resource["service.instance.id"] for resource, _ in processed} == {"n1", "n2"}
    assert {values(span.attributes)["fasttree.outcome"] for _, span in processed} == {"APPLIED"}
    sent = [span for _, span in collector.named("send log", wanted)]
    assert [[link.span_id for link in span.links] for span in sent] == [[append.span_id]] * 2


async def import_is_one_trace(collector: Collector, trace_id: int) -> None:
    phases = ("import download", "import check", "import build", "import replay", "import swap")
    upload, load = "fasttree.v1.PusherService/UploadImport", "fasttree.v1.TreeNodeService/LoadImport"
    await spans_come(
        collector, trace_id, {upload: 1, "import": 1, "load import": 2, load: 2, **dict.fromkeys(phases, 2)}
    )
    wanted = trace_id.to_bytes(16, "big")
    ((_, called),) = collector.named(upload, wanted)
    told = values(called.attributes)
    assert (told["rpc.system.name"], told["rpc.method"], told["rpc.response.status_code"]) == ("grpc", upload, "OK")
    ((_, whole),) = collector.named("import", wanted)
    assert whole.parent_span_id == called.span_id
    loads = {span.span_id for _, span in collector.named("load import", wanted)}
    served = {span.span_id: span.parent_span_id for _, span in collector.named(load, wanted)}
    assert set(served.values()) == loads
    for phase in phases:
        assert {span.parent_span_id for _, span in collector.named(phase, wanted)} == set(served)


async def figures_are_told(collector: Collector, nodes: set[str], position: int) -> None:
    """Each service's, beside Prometheus; a node's own has its name."""

    def last(service: str, name: str) -> dict[str, float]:
        """By instance."""
        found = {key[1]: told.get(name) for key, told in collector.metrics.items() if key[0] == service}
        return {each: told.gauge.data_points[0].as_double for each, told in found.items() if told is not None}

    def commits_of_pusher() -> Any:
        pushers = (told for (service, _), told in collector.metrics.items() if service == "fasttree-pusher")
        return next(pushers)["fasttree_pusher_commit_seconds"].histogram.data_points[0]

    def there() -> bool:
        positions = last("fasttree-treenode", "fasttree_node_position")
        return (
            nodes <= {name for name, value in positions.items() if value > position}
            and any(value > position for value in last("fasttree-pusher", "fasttree_pusher_log_position").values())
            and commits_of_pusher().count >= 3  # the figures are of a moment before the third, or after it
            and 1.0 in last("fasttree-coordinator", "fasttree_coordinator_has_primary").values()
        )

    await until(there, "figures of every service")
    assert commits_of_pusher().exemplars  # the orders of traced callers


async def node_that_was_away_goes_on(
    cluster: RunningCluster, client: Client, collector: Collector, library: LibraryTree
) -> None:
    """The record that it reads from the log has its context."""
    tracer = TracerProvider().get_tracer("test")
    away = cluster.node_names[-1]
    cluster.kill(away)
    with tracer.start_as_current_span("order") as caller:
        await push(client, order(4, library.member_ids[0]), PushOptions())
    trace_id = caller.get_span_context().trace_id
    await spans_come(collector, trace_id, {"process log": 2})
    nodes = {resource["service.instance.id"] for resource, _ in collector.named("process log", trace_id.to_bytes(16))}
    assert nodes == set(cluster.node_names)


async def collector_away(cluster: RunningCluster, client: Client, collector: Collector, library: LibraryTree) -> None:
    """Pushes go on without it, and spans come again once it is back; nobody ended, and it was said once."""
    tracer = TracerProvider().get_tracer("test")
    pids = {name: cluster.pid_of(name) for name in ("pusher", *cluster.node_names)}
    await collector.__aexit__()
    for number in range(5, 25):
        with tracer.start_as_current_span("order"):
            await push(client, order(number, library.member_ids[0]))

    async def told() -> bool:
        return "spans don't reach" in (cluster.folder / "logs" / "pusher.log").read_text()

    await wait_for(told, WAIT_S, "a word on the collector that is away")
    await collector.__aenter__()

    number = 100

    async def again() -> bool:
        nonlocal number
        number += 1
        with tracer.start_as_current_span("order") as caller:
            await push(client, order(number, library.member_ids[0]))
        wanted = caller.get_span_context().trace_id.to_bytes(16)
        return any(collector.named(name, wanted) for name in ("append log", "process log"))

    await wait_for(again, WAIT_S, "spans after the collector came back")
    assert {name: cluster.pid_of(name) for name in pids} == pids
