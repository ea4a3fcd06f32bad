"""A Kubernetes API for tests that need no nodes; whole clusters are in `real/`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.control_plane import control_plane as running_control_plane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for the whole run: what a test makes in it has to be in a namespace of the test's own."""
    with running_control_plane(tmp_path_factory.mktemp("kubernetes")) as running:
        yield running
