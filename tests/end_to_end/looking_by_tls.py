"""What operators look with, on a cluster by TLS: what each role's certificate shows them, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.cluster.cluster import RunningCluster
from tests.command.fasttree_command import FastTree
from tests.end_to_end import busy_machine

#: What no look is of here: the machine that the tests run on.
_OF_THE_CLUSTER = ("endpoints", "names", "ports", "certificates", "cluster", "nodes", "vip", "figures")


async def operator_and_monitor_see_all(fasttree: FastTree, cluster: RunningCluster, out: Path, wait_s: float) -> None:
    """Each command that looks closer, with the certificate of one who may all of it, and with a monitor's."""
    parts = {"coordinator", "pusher", *cluster.node_names}
    operator, monitor = (
        ("--timeout", str(wait_s), "--tls-dir", str(cluster.folder / "certs" / f"client-{role}"))
        for role in ("operator", "monitor")
    )
    for shown in (operator, monitor):
        top = await fasttree(*shown, "top", "--count", "1", "--json")
        assert {part["name"]: part["problem"] for part in top.json_lines[0]["parts"]} == dict.fromkeys(parts, "")
        watched = await fasttree(*shown, "status", "--watch", "--count", "1", "--json")
        assert (watched.code, watched.json_lines[0]["problems"]) == (0, []), watched.err
    found = _of_the_cluster((await fasttree(*operator, "doctor", "--json")).json["findings"])
    assert not found, found
    found = _of_the_cluster((await fasttree(*monitor, "doctor", "--json")).json["findings"])
    # A node is there that a monitor may not ask: no fault, and nobody is sent to start it.
    told = [(each["check"], each["fault"], each["alert"]) for each in found]
    assert told == [("nodes", False, "")] * len(cluster.node_names)
    bundle = await fasttree(*operator, "bundle", "--out", str(out), "--json")
    assert {f"metrics/{part}.txt" for part in parts} <= set(bundle.json["contents"]), bundle.err
    asked = (*operator, "trace", "nobodys", "--json")
    assert "it is not among the log's newest" in (await fasttree(*asked)).err
    # Whoever may not read the log does not say of an update that there is none.
    told_monitor = (await fasttree(*monitor, "trace", "nobodys", "--json")).err
    assert "the log could not be asked" in told_monitor


def _of_the_cluster(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in findings if each["check"] in _OF_THE_CLUSTER and each["alert"] not in busy_machine.ALERTS]
