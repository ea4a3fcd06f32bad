"""The service for DataTrax's programs in a cluster: a file that is dropped into its spool, and a line at its port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.real.deployed import ROOT, Deployed
from tests.kubernetes.real.pages import run
from tests.kubernetes.real.waiting import until

pytestmark = pytest.mark.timeout(600)

_POD, _SPOOL = "fasttree-datatrax-0", "/var/lib/fasttree/spool"
_ORDERS = "update_id,member_id,amount\ndatatrax-1,10126,1.25\ndatatrax-2,10126,2.50\n"
_LINE = '{"update_id": "datatrax-3", "volume_posted": {"member_id": "10126", "amount": "1.00"}}'
_PUSH = """
import socket, sys
with socket.create_connection((sys.argv[1], 50201), timeout=60) as way:
    way.sendall(sys.argv[2].encode() + b"\\n")
    print(way.makefile().readline())
"""


@pytest.fixture(scope="module")
def datatrax(deployed: Deployed) -> Iterator[Deployed]:
    deployed.kubectl("apply", "-k", str(ROOT / "tests/kubernetes/real/overlays/datatrax"))
    until("the service is ready", lambda: deployed.ready("app.kubernetes.io/component=datatrax") == 1)
    yield deployed
    deployed.kubectl("delete", "statefulset,service,networkpolicy,serviceaccount", "fasttree-datatrax")
    deployed.kubectl("delete", "pvc", f"state-{_POD}")


def test_a_file_that_is_dropped_into_the_spool_is_pushed(datatrax: Deployed, tmp_path: Path) -> None:
    spool = f"kubectl exec -n fasttree {_POD} -- "
    (tmp_path / "orders.csv").write_text(_ORDERS)
    here = {"cp orders.csv": f"cp {tmp_path}/orders.csv"}
    run(f"kubectl cp orders.csv fasttree/{_POD}:{_SPOOL}/orders.csv.part", **here)
    run(f"{spool}mv {_SPOOL}/orders.csv.part {_SPOOL}/orders.csv")
    ask = ("exec", _POD, "--", "cat", f"{_SPOOL}/done/orders.csv.receipts")
    receipts = until("it was taken", lambda: datatrax.kubectl(*ask, check=False))
    ids = [json.loads(line)["update_id"] for line in receipts.splitlines()]
    assert ids == ["datatrax-1", "datatrax-2"]


def test_a_client_pushes_a_line(datatrax: Deployed) -> None:
    push = ("exec", "load", "--", "python3", "-P", "-c", _PUSH, "fasttree-datatrax", _LINE)
    receipt = json.loads(str(until("it is answered", lambda: datatrax.kubectl(*push, check=False))))
    assert receipt["update_id"] == "datatrax-3"
    assert receipt.get("code", 0) == 0
