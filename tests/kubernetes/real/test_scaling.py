"""Nodes more and less, under load: nothing else is restarted."""

from __future__ import annotations

import pytest

from tests.kubernetes.real.deployed import Deployed, check

pytestmark = pytest.mark.timeout(900)


def test_nodes_come_and_go(whole: Deployed) -> None:
    with whole.load() as figures:
        whole.scale(5)
        whole.scale(2)
        whole.wait_until_whole()
    check(figures)
