"""A cluster by certificates: from Secrets to a tree that is served by the VIP to who shows one, and to nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.real.deployed import ROOT, Deployed, delete
from tests.kubernetes.real.waiting import WAIT_S, until

pytestmark = pytest.mark.timeout(900)

_NAMESPACE = "fasttree-tls"
_NOBODY = {"vip": "fasttree-vip:50100"}


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Deployed]:
    running = Deployed(_NAMESPACE)
    running.kubectl("create", "namespace", _NAMESPACE)
    place = {"NAMESPACE": _NAMESPACE, "CERTS": str(tmp_path / "certs")}
    path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    script = ["sh", "deploy/k8s/components/tls/secrets.sh"]
    ran = subprocess.run(
        script, cwd=ROOT, env={**os.environ, **place, "PATH": path}, capture_output=True, text=True, timeout=WAIT_S
    )
    assert ran.returncode == 0, ran.stderr
    applied_s = time.monotonic()
    running.kubectl("apply", "-k", str(ROOT / "tests/kubernetes/real/overlays/tls"))
    running.start_shell()
    until("the VIP answers who shows a certificate", lambda: running.operate("member", "10126", check=False))
    print(f"first answer {time.monotonic() - applied_s:.1f} s after kubectl apply")
    yield running
    delete(running)


def test_who_shows_a_certificate_is_answered_and_nobody_else(sealed: Deployed) -> None:
    sealed.wait_until_whole()
    assert "primary fasttree-treenode-" in until("status", lambda: sealed.operate("status", check=False))
    sealed.wait_until_alike()
    sealed.put("operator", "/tmp/nobody.json", json.dumps(_NOBODY))
    assert not sealed.operate("--endpoints", "/tmp/nobody.json", "--timeout", "5", "member", "10126", check=False)
    # The primary goes, and another one is found by its own certificate.
    gone = sealed.primary()
    sealed.kubectl("delete", "pod", gone, "--grace-period=0", "--force")
    until("another node is primary", lambda: sealed.primary() != gone)
    assert "10126" in until("the VIP answers", lambda: sealed.operate("member", "10126", check=False))
