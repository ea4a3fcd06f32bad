"""Who is not named by a policy reaches nothing. A plugin that keeps no policy allows all of it in silence."""

from __future__ import annotations

import pytest

from tests.kubernetes.real.deployed import LOAD_POD, Deployed
from tests.kubernetes.real.waiting import until

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()
except (TimeoutError, ConnectionRefusedError):  # a plugin drops, or says no
    print("denied")
else:
    print("allowed")
"""


def said(deployed: Deployed, pod: str, service: str, port: int) -> str:
    return deployed.kubectl("exec", pod, "--", "python3", "-c", CONNECT, service, str(port), check=False).strip()


@pytest.fixture(scope="module")
def stranger(deployed: Deployed) -> str:
    """A pod that has no label of a client."""
    manifest = LOAD_POD.replace("name: load\n  labels", "name: stranger\n  labels").replace("client:", "stranger:")
    deployed.kubectl("apply", "-f", "-", stdin=manifest)
    until("the stranger's pod runs", lambda: deployed.ready("fasttree.io/stranger=true") == 1)
    return "stranger"


def test_a_client_reaches_what_clients_need_and_no_more(deployed: Deployed) -> None:
    assert said(deployed, "load", "fasttree-vip", 50100) == "allowed"
    assert said(deployed, "load", "fasttree-ro", 50100) == "allowed"
    assert said(deployed, "load", "fasttree-pusher", 50300) == "allowed"
    assert said(deployed, "load", "fasttree-coordinator", 50400) == "denied"
    assert said(deployed, "load", "fasttree-console", 50500) == "denied"


@pytest.mark.parametrize(
    ("service", "port"),
    [("fasttree-vip", 50100), ("fasttree-ro", 50100), ("fasttree-pusher", 50300), ("fasttree-console", 50500)],
)
def test_a_stranger_reaches_no_port(deployed: Deployed, stranger: str, service: str, port: int) -> None:
    until(f"{service} keeps strangers out", lambda: said(deployed, stranger, service, port) == "denied")
