"""What became of a seed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulator.cluster import Cluster


@dataclass(frozen=True)
class Result:
    """What became of a seed."""

    seed: int
    simulated_s: float
    #: The part of it that was skipped because nothing but heartbeats happened.
    skipped_s: float
    steps: int
    #: Why it failed, in words with the story; empty where it did not.
    violation: str
    acknowledged: int
    elections: int
    imports: int
    reads: int
    failed_reads: int
    #: Snapshots that were stored, and starts from one.
    stored: int
    stored_starts: int


def result_of(cluster: Cluster, violation: str) -> Result:
    """The cluster's story is over."""
    store = cluster.store
    if store is not None:
        store.close()
    return Result(
        seed=cluster.world.seed,
        simulated_s=cluster.world.now,
        skipped_s=cluster.world.skipped_s,
        steps=cluster.world.steps,
        violation=violation,
        acknowledged=len(cluster.history.acknowledged),
        elections=cluster.reign.elections,
        imports=len(cluster.pusher.imports),
        reads=cluster.vip.reads,
        failed_reads=cluster.vip.failed,
        stored=store.checker.puts if store is not None else 0,
        stored_starts=store.checker.starts if store is not None else 0,
    )
