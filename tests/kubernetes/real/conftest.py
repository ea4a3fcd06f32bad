"""The product on a whole cluster: what `KUBECONFIG` names, inside of what `tests.kubernetes.cluster` runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.real.deployed import Deployed, delete, deploy


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """The demo overlay, applied once for the whole run. A test that breaks something waits until it is whole again."""
    running = deploy()
    yield running
    delete(running)


@pytest.fixture
def whole(deployed: Deployed) -> Iterator[Deployed]:
    """Everything is ready when a test begins, whatever the one before did."""
    deployed.wait_until_whole()
    yield deployed
    deployed.kubectl("uncordon", "--selector", "kubernetes.io/os=linux")
    deployed.scale(deployed.nodes)
