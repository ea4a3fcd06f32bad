"""A message to 100,000 recipients, each once, while the service is killed: `make bench-messages`.

A real cluster imports the members; its service for DataTrax hands each one's letter to a stub gateway, and is ended by
kill -9 again and again, evenly over the message. The last line is JSON: recipients, kills, seconds (from the message's
being taken to its being done, the restarts among them), per_s, letters (how many different ones came), again (how many
came once more, under the same key), most_again (what the window allows), service_mb_largest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from aiohttp import web

from bench.cluster.cluster import RunningCluster, free_port, resident_mb, running_cluster, wait_for
from bench.failover import say
from fasttree.client import Client, Endpoints, Retries
from fasttree.v1 import message_pb2, pusher_pb2

PATIENCE_S = 3_600.0
WINDOW = 128
_MESSAGE = "bench"


class Gateway:
    """Takes every letter, and counts it by its key."""

    def __init__(self) -> None:
        self.keys: Counter[str] = Counter()
        self.url = ""

    async def start(self) -> web.AppRunner:
        application = web.Application()
        application.router.add_post("/", self._take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        return runner

    async def _take(self, request: web.Request) -> web.Response:
        await request.read()
        self.keys[request.headers["Idempotency-Key"]] += 1
        return web.Response()


async def measure(cluster: RunningCluster, client: Client, gateway: Gateway, kills: int) -> dict[str, float]:
    """Raises SystemExit where a letter did not come, or one came again that the window does not account for."""
    message = message_pb2.Message(message_id=_MESSAGE, channel="sms", template="{member_id}: {pv}")
    preview = await client.messages.preview(message)
    recipients, largest_mb = preview.recipients, 0.0
    say(f"{recipients:,} recipients, {kills} kills")
    began_s = time.monotonic()
    await client.messages.send(message)
    for kill in range(kills + 1):
        enough = recipients * (kill + 1) // (kills + 1)
        while len(gateway.keys) < enough:
            if time.monotonic() - began_s > PATIENCE_S:
                raise SystemExit(f"{len(gateway.keys):,} letters came within {PATIENCE_S:g} s")
            largest_mb = max(largest_mb, resident_mb(cluster.pid_of("datatrax")))
            await asyncio.sleep(0.01)
        if kill < kills:
            say(f"{len(gateway.keys):,} letters: kill -9")
            cluster.kill("datatrax")

    async def is_done() -> bool:
        return (await client.messages.get(_MESSAGE)).state == message_pb2.MESSAGE_STATE_DONE

    await wait_for(is_done, PATIENCE_S, "the message to be done")
    took_s = time.monotonic() - began_s
    again = gateway.keys.total() - len(gateway.keys)
    if len(gateway.keys) != recipients or again > kills * WINDOW:
        raise SystemExit(f"{len(gateway.keys):,} letters of {recipients:,} came, {again:,} of them again")
    status = await client.messages.get(_MESSAGE)
    if status.counts.sent != recipients:
        raise SystemExit(f"{status.counts.sent:,} letters of {recipients:,} are noted as sent")
    return {
        "recipients": recipients,
        "kills": kills,
        "seconds": round(took_s, 1),
        "per_s": round(recipients / took_s),
        "letters": len(gateway.keys),
        "again": again,
        "most_again": kills * WINDOW,
        "service_mb_largest": round(largest_mb, 1),
    }


async def run(recipients: int, kills: int) -> dict[str, float]:
    """A cluster, its members, and the measurement."""
    with tempfile.TemporaryDirectory(prefix="fasttree-messages-") as name:
        folder, gateway = Path(name), Gateway()
        listening = await gateway.start()
        place = folder / "fasttree"
        place.mkdir()
        (folder / "key").write_text("0123456789abcdef")
        (place / "channels.toml").write_text(
            f'[sms]\nsender = "webhook"\nurl = "{gateway.url}"\nkey_file = "{folder / "key"}"\nwindow = {WINDOW}\n'
        )
        arguments = ("--datatrax", str(place), "--datatrax-port", str(free_port()))
        async with running_cluster(folder / "cluster", arguments=arguments, tell=say) as cluster:
            members = folder / "members.csv"
            rows = "".join(f"{number},{'' if number == 0 else 0},A,0,,0\n" for number in range(recipients))
            members.write_text("member_id,sponsor_id,status,rank,joined_on,pv\n" + rows)
            patient = Retries(timeout_s=60.0)
            async with Client(Endpoints.read(cluster.folder / "endpoints.json"), retries=patient) as client:
                manifest = await client.upload_import(members)
                async for status in client.watch_import(manifest.import_id):
                    if status.state == pusher_pb2.IMPORT_STATE_REFUSED:
                        raise SystemExit(f"the members were refused: {status}")
                    if status.state == pusher_pb2.IMPORT_STATE_DONE:
                        break
                try:
                    return await measure(cluster, client, gateway, kills)
                finally:
                    await listening.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=5)
    arguments = parser.parse_args()
    figures = asyncio.run(run(arguments.recipients, arguments.kills))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
