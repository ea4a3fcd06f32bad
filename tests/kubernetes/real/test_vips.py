"""Two VIPs, and a client that knows both: the end of one costs no read; their restart none, even behind one address."""

from __future__ import annotations

import pytest

from tests.kubernetes.real.deployed import EACH_VIP, Deployed, check
from tests.kubernetes.real.waiting import until

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("by", ["addresses", "name"])
def test_a_vip_is_killed(whole: Deployed, by: str) -> None:
    vips = whole.vips()
    addresses = ",".join(f"{pod['status']['podIP']}:50100" for pod in vips)
    with whole.load(f"ipv4:{addresses}" if by == "addresses" else EACH_VIP) as figures:
        whole.kubectl("delete", "pod", vips[0]["metadata"]["name"], "--grace-period=0", "--force")
        whole.wait_until_whole()
    check(figures)


def test_the_vips_are_restarted_one_by_one(whole: Deployed) -> None:
    gone = {pod["metadata"]["name"] for pod in whole.vips()}
    with whole.load() as figures:
        whole.kubectl("rollout", "restart", "deployment/fasttree-vip")
        whole.kubectl("rollout", "status", "deployment/fasttree-vip", "--timeout=200s")
        until(
            "the old ones are gone",
            lambda: not gone & {pod["metadata"]["name"] for pod in whole.pods("app.kubernetes.io/component=vip")},
        )
        whole.wait_until_whole()
    check(figures)
