"""`fasttree up` of a cluster whose parts all answer while pushes are refused: it says so, why, and what leads out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.rivals.postgres_replicas import ReplicatedPostgres
from fasttree.client import Endpoints
from tests.command.fasttree_command import FastTree
from tests.command.test_up import up
from tests.postgresql_server import schema_settings
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)


async def last_line(folder: Path, *further: str) -> str:
    """Of those that a start there ends with; the cluster has ended in good order again."""
    before = (folder.parent / "up.log").stat().st_size
    async with up(folder, *further) as cluster:
        await until(lambda: "\nready" in cluster.log[before:], "the last line")
        said = cluster.log
        assert await cluster.stop() == 0, cluster.log
    return said.splitlines()[-1]


async def test_a_moved_log_and_another_one_are_told_with_the_mend(
    tmp_path: Path, postgresql: ReplicatedPostgres
) -> None:
    folder = tmp_path / "cluster"
    async with up(folder, "--sample", "--nodes", "1", "--pushers", "2") as cluster:
        assert await cluster.stop() == 0, cluster.log
    assert "ready: reports at" in (tmp_path / "up.log").read_text()
    with schema_settings(postgresql) as settings:
        schema, url = settings.postgresql.log_schema, settings.log_url
        ran = await FastTree(tmp_path / "client", Endpoints())(
            *("log", "copy", "--from", str(folder / "state/pusher"), "--to", url, "--schema", schema),
            *("--cluster", "dot-local", "--finish"),
        )
        assert ran.code == 0, ran.err
        moved = f"this log was moved to schema {schema} at "
        named = f"--set at the next start, or in {folder / 'cluster.toml'}"
        # As many pushers as at the start before.
        told = await last_line(folder)
        assert "ready for reports alone, at 127.0.0.1:" in told
        assert f"pusher, pusher-2 can't be active: {moved}" in told
        told = await last_line(folder, "--pushers", "1")
        assert "ready for reports alone, at 127.0.0.1:" in told
        assert f"no pushes are taken: {moved}" in told
        assert f'set pusher.log_store = "postgresql", pusher.log_url and pusher.log_schema = "{schema}"' in told
        assert named in told
        given = {
            "pusher.log_store": "postgresql", "pusher.log_url": url, "pusher.log_schema": schema,
            "coordinator.store": "postgresql", "coordinator.postgresql_url": url,
            "coordinator.postgresql_schema": f"{schema}_record",
        }  # fmt: skip
        words = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
        async with up(folder, "--coordinators", "2", *words) as cluster:
            endpoints = cluster.endpoints
            assert (endpoints.coordinator.count(","), endpoints.pusher.count(",")) == (1, 0)
            assert await cluster.stop() == 0, cluster.log
        assert (await last_line(folder, *words)).startswith("ready: reports at")
        postgresql.psql(f"DROP SCHEMA {schema}_record CASCADE;")
    refused = await FastTree(tmp_path / "client", Endpoints())("up", "--dir", str(folder))
    assert refused.err.startswith("error: 2 coordinators need one record, and coordinator.store keeps it in a file")
    shutil.rmtree(folder / "state/pusher")
    told = await last_line(folder, "--coordinators", "1")
    assert "ready for reports alone, at 127.0.0.1:" in told
    assert "no pushes are taken: this is another log" in told
    assert "fasttree log adopt" in told
