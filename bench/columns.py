"""What three columns of texts cost, a name, an e-mail address and a phone number that no two members share.

    python -m bench.columns [--members 1000000]

Progress goes to standard error; standard output ends with one JSON line. Each of the first six is told without the
columns and with them.

| key | what |
|---|---|
| import_s, import_with_s | CSV file on the node's disk → every group volume served by the node, seconds; a median |
| steady_gb, steady_with_gb | memory of the node that serves, its snapshot written |
| restart_s, restart_with_s | the node's start → first report from its own snapshot; a median |
| texts_gb | length of the texts |
| bytes_a_text | memory that the columns take beyond the length of their texts, for each text |
| enrolments_per_s | with three new texts each, decoded messages in the engine, batches of 1000; a median |
| longest_gap_ms | the longest time without an answer to reads while the file with the columns is taken once more |
| failed_reads | of these reads, which go on until the snapshot is written |
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cluster.read_load import ReadLoad
from bench.engine.genealogy import Genealogy, make_genealogy, write_genealogy
from bench.reports.tree_node import BenchNode, memory_bytes
from bench.sitting import measure

_IMPORTS = 3
_RESTARTS = 3


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def run(members: int, folder: Path) -> dict[str, Any]:
    """Measures everything."""
    figures: dict[str, Any] = {"members": members}
    for suffix in ("", "_with"):
        genealogy = make_genealogy(members, persons=bool(suffix))
        file = folder / f"members{suffix}.csv"
        write_genealogy(genealogy, file)
        ids = [member_id.decode() for member_id in genealogy.ids[: min(members, 20_000)]]
        if suffix:
            figures["texts_gb"] = _text_bytes(genealogy) / 1e9
            say("the engine alone")
            figures["enrolments_per_s"] = round(await _enrolments_per_s(file))
        say(f"importing {file.stat().st_size:,} bytes")
        node = await _imported(folder, file, figures, suffix)
        try:
            await node.wait_for_snapshot()
            figures[f"steady{suffix}_gb"] = round(memory_bytes(node.pid) / 1e9, 3)
            if suffix:
                figures |= await _reads_beside(node, file, ids)
            say("restarts from the node's snapshot")
            restarts = [await node.restart(ids[0], 2 if suffix else 1) for _ in range(_RESTARTS)]
            figures[f"restart{suffix}_s"] = round(statistics.median(restarts), 3)
        finally:
            await node.stop()
    beyond_gb = figures["steady_with_gb"] - figures["steady_gb"] - figures["texts_gb"]
    figures["bytes_a_text"] = round(beyond_gb * 1e9 / (3 * members), 1)
    figures["texts_gb"] = round(figures["texts_gb"], 4)
    return figures


def _text_bytes(genealogy: Genealogy) -> int:
    columns = (genealogy.further[name] for name in ("name", "email", "phone"))
    return sum(len("".join(column.to_pylist()).encode()) for column in columns)


async def _imported(folder: Path, file: Path, figures: dict[str, Any], suffix: str) -> BenchNode:
    """The last of some fresh nodes that took the file one after another; the median of their times."""
    served_s = []
    for number in range(_IMPORTS):
        node = BenchNode(folder / f"node{suffix}{number}")
        try:
            await node.start()
            times = await node.load_import(file)
        except BaseException:
            await node.stop()
            raise
        say(f"  {times.told()}")
        served_s.append(times.served_s)
        if number < _IMPORTS - 1:
            await node.stop()
            shutil.rmtree(folder / f"node{suffix}{number}")
    figures[f"import{suffix}_s"] = round(statistics.median(served_s), 3)
    return node


async def _reads_beside(node: BenchNode, file: Path, ids: Sequence[str]) -> dict[str, Any]:
    """Reads while the file is taken once more and its snapshot written."""
    say("reads beside an import and a snapshot")
    load = ReadLoad(node.channel(), ids)
    async with load:
        await asyncio.sleep(0.5)
        await node.load_import(file, 2)
        await node.wait_for_snapshot(2)
        await asyncio.sleep(0.5)
    return {"longest_gap_ms": round(load.longest_gap_ms(), 1), "failed_reads": load.failed_reads}


async def _enrolments_per_s(file: Path) -> float:
    command = [sys.executable, "-m", "bench.engine.tree_engine", str(file)]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout)["text_enrolments_per_s"])


if __name__ == "__main__":
    sys.exit(measure(__doc__ or "", run))
