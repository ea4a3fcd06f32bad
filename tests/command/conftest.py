"""A small cluster of fakes, and the command as somebody types it there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster, fake_cluster


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as started:
        yield started


@pytest.fixture
def fasttree(cluster: FakeCluster, tmp_path: Path) -> FastTree:
    return FastTree(tmp_path, cluster.endpoints)
