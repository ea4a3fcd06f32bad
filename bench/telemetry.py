"""What telemetry costs an order: the same orders through clusters with and without it, in pairs: `make
bench-telemetry`.

Four clusters stand at once: without telemetry, the same once more (what differs there is the machine's noise), with it
and nothing sampled, with one update in a hundred sampled (and no bound on traces a second, which would make that
cheaper). Each round sends the same number of orders through each of them, in an order that turns. What counts is the
processor time of pusher and nodes for an order, which a busy machine changes less than it does the time on the clock;
both are given, as the median over the rounds of each pair's ratio.

The last line is JSON: for `again`, `unsampled` and `sampled`, orders_per_s_ratio (to the cluster without) and
cpu_ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import grpc.aio
import uvloop
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bench.cluster.cluster import RunningCluster, cpu_s, running_cluster
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.fanout import order_batches, push_batches, say
from fasttree.client import Client


class Taken(NamedTuple):
    """One round of one cluster."""

    orders_per_s: float
    #: Of pusher and nodes, in microseconds.
    cpu_us_an_order: float


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts spans, and throws them away."""

    spans = 0

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """See OTLP."""
        self.spans += sum(len(scope.spans) for each in request.resource_spans for scope in each.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


class MetricsCollector(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Throws them away: what it costs to make and to send them is a part of what telemetry costs."""

    async def Export(
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: object
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        """See OTLP."""
        return metrics_service_pb2.ExportMetricsServiceResponse()


def kinds_of(address: str) -> dict[str, tuple[str, ...]]:
    """Each cluster's settings."""
    on = (f"telemetry.endpoint={address}", "telemetry.traces_per_s_max=1000000", "telemetry.queue_spans_max=1000000")
    return {
        "without": (),
        "again": (),
        "unsampled": (*on, "telemetry.sample_ratio=0"),
        "sampled": (*on, "telemetry.sample_ratio=0.01"),
    }


async def load(cluster: RunningCluster, file: Path) -> None:
    """The members, on every node."""
    async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
        manifest = await client.upload_import(file)
        async for _ in client.watch_import(manifest.import_id, patience_s=600):
            pass
    await cluster.wait_ready()
    await cluster.wait_at_rest()


async def one_round(cluster: RunningCluster, member_ids: list[str], name: str, count: int) -> Taken:
    """The same orders, until every node has applied the last one."""
    batches = order_batches(name, member_ids, count)
    pids = [cluster.pid_of(part) for part in ("pusher", *cluster.node_names)]
    begin = (await cluster.pusher()).log_end.position
    before_s, started = sum(map(cpu_s, pids)), time.perf_counter()
    await push_batches(cluster, batches)
    await cluster.wait_applied(begin + count, timeout_s=600)
    took_s = time.perf_counter() - started
    await asyncio.sleep(1.0)  # what is sent a moment later is a part of the cost
    return Taken(count / took_s, (sum(map(cpu_s, pids)) - before_s) / count * 1e6)


async def measure(members: int, count: int, rounds: int) -> dict[str, dict[str, float]]:
    """The figures of each kind."""
    genealogy = make_genealogy(members, seed=1, roots=1)
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(MetricsCollector(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    taken: dict[str, list[Taken]] = {}
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fasttree-telemetry-")))
        file = folder / "members.csv"
        write_genealogy(genealogy, file)
        clusters: dict[str, RunningCluster] = {}
        for kind, settings in kinds_of(f"127.0.0.1:{port}").items():
            say(f"starts the cluster {kind}")
            arguments = tuple(f"--set={setting}" for setting in settings)
            clusters[kind] = await stack.enter_async_context(running_cluster(folder / kind, arguments=arguments))
            await load(clusters[kind], file)
        kinds = list(clusters)
        for number in range(rounds + 1):
            for kind in kinds[number % 4 :] + kinds[: number % 4]:
                found = await one_round(clusters[kind], member_ids, f"r{number}", count)
                say(f"round {number}, {kind}: {found.orders_per_s:,.0f} orders/s, {found.cpu_us_an_order:.2f} us each")
                if number:  # the first one warms all of them
                    taken.setdefault(kind, []).append(found)
    say(f"{collector.spans:,} spans came")
    await server.stop(0)
    return {kind: _ratios(taken["without"], taken[kind]) for kind in ("again", "unsampled", "sampled")} | {
        "without": {name: statistics.median(getattr(one, name) for one in taken["without"]) for name in Taken._fields}
    }


def _ratios(without: list[Taken], taken: list[Taken]) -> dict[str, float]:
    pairs = list(zip(without, taken, strict=True))
    return {
        "orders_per_s_ratio": round(statistics.median(one.orders_per_s / bare.orders_per_s for bare, one in pairs), 3),
        "cpu_ratio": round(statistics.median(one.cpu_us_an_order / bare.cpu_us_an_order for bare, one in pairs), 3),
    }


def main() -> None:
    """All rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--orders", type=int, default=100_000, help="a round")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    print(json.dumps(uvloop.run(measure(arguments.members, arguments.orders, arguments.rounds))))


if __name__ == "__main__":
    main()
