"""Two VIPs, and a client that knows both: the end of one costs no read."""

from __future__ import annotations

import pytest

from tests.kubernetes.real.deployed import Deployed, check

pytestmark = pytest.mark.timeout(900)


def test_a_vip_is_killed(whole: Deployed) -> None:
    vips = [pod for pod in whole.pods("app.kubernetes.io/component=vip") if "deletionTimestamp" not in pod["metadata"]]
    with whole.load(*(f"{pod['status']['podIP']}:50100" for pod in vips)) as figures:
        whole.kubectl("delete", "pod", vips[0]["metadata"]["name"], "--grace-period=0", "--force")
        whole.wait_until_whole()
    check(figures)
