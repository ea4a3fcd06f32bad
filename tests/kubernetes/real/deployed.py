"""The product as it runs in a cluster, looked at and changed by kubectl."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.kubernetes.real.waiting import WAIT_S, until

ROOT = Path(__file__).parents[3]
OVERLAY = ROOT / "deploy" / "k8s" / "overlays" / "demo"
NAMESPACE = "fasttree"
_NODES = "app.kubernetes.io/component=treenode"
LOAD_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: load
  labels: {fasttree.io/client: "true"}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 20002, fsGroup: 20002, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: load
    image: localhost/fasttree:0.1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    env: [{name: PYTHONPATH, value: /tmp/load}]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: tmp, mountPath: /tmp}]
  volumes: [{name: tmp, emptyDir: {}}]
"""


class Deployed:
    """One that is there.

    Attributes:
        nodes: Tree nodes that its manifests ask for.
        first_answer_s: From `kubectl apply` to the first answer through the VIP.
    """

    def __init__(self) -> None:
        self.nodes = 2
        self.first_answer_s = 0.0
        self._loads = 0

    def kubectl(self, *arguments: str, stdin: str | bytes = "", check: bool = True) -> str:
        """What kubectl says; the test fails where it does."""
        ran = subprocess.run(
            ["kubectl", "--namespace", NAMESPACE, *arguments],
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            check=False,
            timeout=WAIT_S,
        )
        assert ran.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {ran.stderr.decode()}"
        return ran.stdout.decode()

    def pods(self, selector: str = _NODES) -> list[dict[str, Any]]:
        """Those that a selector names."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return found

    def primary(self) -> str:
        """Name of the pod that is labelled so, once there is one."""

        def labelled() -> str:
            names = [pod["metadata"]["name"] for pod in self.pods(f"{_NODES},fasttree.io/role=primary")]
            return names[0] if len(names) == 1 else ""

        return str(until("one pod is labelled primary", labelled))

    def machine_of(self, pod: str) -> str:
        """Name of the Kubernetes node that it runs on."""
        return self.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")

    def ready(self, selector: str = _NODES) -> int:
        """How many pods of these are ready and not about to end."""
        return sum(
            any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
            for pod in self.pods(selector)
            if "deletionTimestamp" not in pod["metadata"]
        )

    def wait_until_whole(self) -> None:
        """Every tree node, the pusher and the VIP are ready, and one node is primary."""
        until(f"{self.nodes} tree nodes are ready", lambda: self.ready() == self.nodes)
        until("a pusher is ready", lambda: self.ready("app.kubernetes.io/component=pusher") == 1)
        until("two VIPs are ready", lambda: self.ready("app.kubernetes.io/component=vip") == 2)
        self.primary()

    def scale(self, nodes: int) -> None:
        """So many tree nodes, once they are there and ready."""
        self.kubectl("scale", "statefulset/fasttree-treenode", f"--replicas={nodes}")
        until(f"{nodes} tree nodes are ready", lambda: self.ready() == len(self.pods()) == nodes)

    def process_of(self, pod: str) -> int:
        """Number of a pod's first process, as this cluster's first process counts them."""
        uid = self.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if uid in (process / "cgroup").read_text() and b"services." in (process / "cmdline").read_bytes():
                    return int(process.name)
        raise AssertionError(f"no process of {pod} is seen from here: this test needs the project's own cluster")

    def kill(self, pod: str) -> None:
        """SIGKILL, as the kernel does where memory is short; nobody inside can do it to the first process."""
        os.kill(self.process_of(pod), signal.SIGKILL)

    @contextlib.contextmanager
    def load(self, *addresses: str, settle_s: float = 5.0) -> Iterator[dict[str, Any]]:
        """Reads and orders in the background; the figures are there when the block ends.

        Args:
            addresses: Of VIPs, in place of their Service: reads that meet one that is gone are asked of another.
            settle_s: How long it goes on after the block.
        """
        self._loads += 1
        figures: dict[str, Any] = {}
        arguments = ["fasttree-vip:50100", "fasttree-pusher:50300", f"load-{self._loads}", *addresses]
        command = [
            "kubectl",
            "-n",
            NAMESPACE,
            "exec",
            "-i",
            "load",
            "--",
            "python3",
            "-m",
            "tests.kubernetes.real.load",
        ]
        with subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdin is not None
            assert run.stdout is not None
            try:
                assert run.stdout.readline() == "loaded\n"
                yield figures
                time.sleep(settle_s)
                run.stdin.close()
                figures.update(json.loads(run.stdout.read()))
            finally:
                run.kill()
        print(json.dumps(figures))


def check(figures: dict[str, Any]) -> None:
    """No read failed, and every order is in the log, once."""
    assert figures["reads"] > 0
    assert figures["orders"] > 0
    assert {name: figures[name] for name in ("failed_reads", "refused", "lost", "twice")} == {
        "failed_reads": 0,
        "refused": 0,
        "lost": 0,
        "twice": 0,
    }, figures


def deploy() -> Deployed:
    """Applies the demo overlay, and waits for the first answer through the VIP; then for everything."""
    made = Deployed()
    there = made.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name")
    assert not there, f"the cluster has a namespace {NAMESPACE}, which these tests would end by deleting: take another"
    applied_s = time.monotonic()
    made.kubectl("apply", "-k", str(OVERLAY))
    made.kubectl("apply", "-f", "-", stdin=LOAD_POD)
    ask = ("exec", "load", "--", "fasttree", "--endpoints", "/tmp/endpoints.json", "member", "10000")
    endpoints = json.dumps({"vip": "fasttree-vip:50100", "pusher": "fasttree-pusher:50300"})
    until("the load's pod runs", lambda: made.ready("fasttree.io/client=true") == 1)
    made.kubectl("exec", "-i", "load", "--", "sh", "-c", "cat > /tmp/endpoints.json", stdin=endpoints)
    until("the VIP answers", lambda: made.kubectl(*ask, check=False))
    made.first_answer_s = time.monotonic() - applied_s
    made.kubectl("exec", "-i", "load", "--", "sh", "-c", "mkdir -p /tmp/load && tar x -C /tmp/load", stdin=_programs())
    made.wait_until_whole()
    return made


def _programs() -> bytes:
    """What the load is run with, which is in no image: the judges and generators of the benches, and itself."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("bench", "tests/kubernetes/real/load.py"):
            tar.add(ROOT / name, name, filter=lambda info: None if "__pycache__" in info.name else info)
    return packed.getvalue()


def delete(made: Deployed) -> None:
    """Takes all of it away, volumes too."""
    made.kubectl("delete", "namespace", NAMESPACE, "--wait=true")
