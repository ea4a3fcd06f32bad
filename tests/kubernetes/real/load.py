"""Reads and orders while something happens to a cluster; runs in a pod of it.

200 reads a second through the VIP, each with a deadline of 10 s and no retry of its own, and 100 orders a second by the
Python client, until standard input ends. Then the log is read and held against every receipt. The last line is JSON:
reads, failed_reads, failures, longest_gap_ms, slowest_ms, answered_by, orders, refused, lost, twice, closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc.aio

from bench.cluster.judge import judge_log
from bench.cluster.read_load import ReadLoad
from fasttree.client import Client, Endpoints, PushOptions, TlsFiles
from fasttree.client.calls.tls import Credentials
from fasttree.v1 import pusher_pb2, report_pb2, types_pb2

ORDERS_PER_S = 100
#: A read that nobody answers fails by it. How fast reads are is told and not judged: where five nodes, a cluster's own
#: parts and this program share a few processors, each of them may stand still for seconds.
_DEADLINE_S = 10.0
_SAMPLED = 50
#: Every call has ended by its deadline, but for one whose end grpcio loses when a connection goes: now and then its
#: channel waits for that for ever.
_CLOSE_S = 2 * _DEADLINE_S
#: What a client is told that knows several VIPs: take them in turn, and ask another one where one is gone …
_SEVERAL = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}
#: … also where it is silent, as one whose machine has no power.
_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 300),
    ("grpc.keepalive_timeout_ms", 300),
    ("grpc.http2.max_pings_without_data", 0),
]


async def _orders(prefix: str, member_ids: list[str], ended: asyncio.Event) -> AsyncIterator[types_pb2.Update]:
    draw, number = random.Random(prefix), 0
    while not ended.is_set():
        number += 1
        order = types_pb2.VolumePosted(member_id=draw.choice(member_ids), amount_hundredths=draw.randrange(1, 50_000))
        yield types_pb2.Update(update_id=f"{prefix}-{number}", volume_posted=order)
        await asyncio.sleep(1 / ORDERS_PER_S)


def _channel(address: str, options: list[tuple[str, object]]) -> grpc.aio.Channel:
    """By the certificate that the environment names, where it names one."""
    files = TlsFiles.of_environment()
    if files is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, Credentials(files).now, options=options)


async def run(vip: str, pusher: str, prefix: str, several: str = "") -> dict[str, object]:
    """Until standard input ends; returns the figures.

    Args:
        vip: The VIP's Service.
        pusher: The pusher's.
        prefix: Of the orders' ids.
        several: gRPC's name for the VIPs, each by itself: reads go to these, and are asked again where one is gone.
    """
    options = [("grpc.service_config", json.dumps(_SEVERAL)), *_KEEPALIVE] if several else []
    ended = asyncio.Event()

    async def wait_for_end() -> None:
        await asyncio.to_thread(sys.stdin.read)
        ended.set()

    receipts: list[pusher_pb2.Receipt] = []
    async with Client(Endpoints(vip=vip, pusher=pusher)) as client:
        page = await client.reports.list_downline(report_pb2.ListDownlineRequest(page_size=_SAMPLED))
        member_ids = [member.member_id for member in page.members]

        async def push() -> None:
            pushed = client.push(_orders(prefix, member_ids, ended), PushOptions(patience_s=120))
            receipts.extend([receipt async for receipt in pushed])

        beside = AsyncExitStack()
        channel = await beside.enter_async_context(_channel(several or vip, options))
        load = await beside.enter_async_context(ReadLoad(channel, member_ids, deadline_s=_DEADLINE_S))
        print("loaded", flush=True)
        await asyncio.gather(wait_for_end(), push())
        closing = asyncio.create_task(beside.aclose())
        closed, _ = await asyncio.wait({closing}, timeout=_CLOSE_S)
        refused = [receipt for receipt in receipts if receipt.code]
        verdict = await judge_log(client, receipts)
    return {
        "reads": load.reads,
        "failed_reads": load.failed_reads,
        "failures": dict(load.failures),
        "longest_gap_ms": round(load.longest_gap_ms()),
        "slowest_ms": round(load.slowest_s * 1_000),
        "answered_by": dict(load.answered_by),
        "orders": len(receipts),
        "refused": len(refused),
        "lost": len(verdict.lost),
        "twice": len(verdict.twice),
        "closed": bool(closed),
    }


async def main() -> None:
    """Prints the figures, and ends whatever grpc still waits for."""
    print(json.dumps(await run(*sys.argv[1:])), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
