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
_SHELL = ROOT / "deploy" / "k8s" / "examples" / "shell.yaml"
_NODES = "app.kubernetes.io/component=treenode"
_VIP, _PUSHER = "fasttree-vip", "fasttree-pusher"
#: Every VIP by its own address, by DNS.
EACH_VIP = "dns:///fasttree-vips:50100"
LOAD_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: load
  labels: {fasttree.io/client: "true"}
spec:
  nodeName:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 20002, fsGroup: 20002, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: load
    image: localhost/fasttree:0.1.0
    imagePullPolicy: IfNotPresent
    command: [sleep, infinity]
    env:
    - {name: PYTHONPATH, value: /tmp/load}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: tls, mountPath: /run/fasttree/tls}
  volumes:
  - {name: tmp, emptyDir: {}}
  - {name: tls, secret: {secretName: fasttree-operator-tls, optional: true}}
"""
_SHOWS_A_CERTIFICATE = "    - {name: FASTTREE_TLS_DIR, value: /run/fasttree/tls}\n"


class Deployed:
    """One that is there.

    Attributes:
        namespace: Where it is.
        labelled: Whether the pods' labels say who is primary, as they do since there are two coordinators.
        nodes: Tree nodes that its manifests ask for.
        pushers: Pushers likewise.
        sealed: Whether its parts and clients show each other certificates.
        first_answer_s: From `kubectl apply` to the first answer through the VIP.
    """

    def __init__(
        self, namespace: str = NAMESPACE, *, labelled: bool = True, pushers: int = 1, sealed: bool = False
    ) -> None:
        self.namespace = namespace
        self.labelled = labelled
        self.sealed = sealed
        self.nodes = 2
        self.pushers = pushers
        self.first_answer_s = 0.0
        self._loads = 0

    def kubectl(self, *arguments: str, stdin: str | bytes = "", check: bool = True) -> str:
        """What kubectl says; the test fails where it does."""
        ran = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            capture_output=True,
            check=False,
            timeout=WAIT_S,
        )
        assert ran.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {ran.stderr.decode()}"
        return ran.stdout.decode()

    @property
    def pusher(self) -> str:
        """Where clients push: the Service, or each of several by its own name."""
        if self.pushers == 1:
            return f"{_PUSHER}:50300"
        return ",".join(f"{_PUSHER}-{number}.{_PUSHER}s:50300" for number in range(self.pushers))

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

    def vips(self) -> list[dict[str, Any]]:
        """Pods of the VIPs."""
        pods = self.pods("app.kubernetes.io/component=vip")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def machine_of(self, pod: str) -> str:
        """Name of the Kubernetes node that it runs on."""
        return self.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")

    def machines_of(self, component: str) -> set[str]:
        """Names of the Kubernetes nodes that have pods of a component."""
        pods = self.pods(f"app.kubernetes.io/component={component}")
        return {pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    def ready(self, selector: str = _NODES) -> int:
        """How many pods of these are ready and not about to end."""
        return sum(
            any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
            for pod in self.pods(selector)
            if "deletionTimestamp" not in pod["metadata"]
        )

    def wait_until_whole(self) -> None:
        """Every tree node, every pusher, both VIPs and both coordinators are ready, and one node is primary."""
        until(f"{self.nodes} tree nodes are ready", lambda: self.ready() == self.nodes)
        pushers = "app.kubernetes.io/component=pusher"
        until(f"{self.pushers} pushers are ready", lambda: self.ready(pushers) == self.pushers)
        until("two VIPs are ready", lambda: self.ready("app.kubernetes.io/component=vip") == 2)
        if self.labelled:
            until("two coordinators are ready", lambda: self.ready("app.kubernetes.io/component=coordinator") == 2)
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

    def start_client(self, name: str, machine: str = "") -> None:
        """A pod that may read and push, on a machine of one's choice, with the programs of `load`."""
        manifest = LOAD_POD.replace("name: load\n  labels", f"name: {name}\n  labels")
        if self.sealed:
            above = "value: /tmp/load}\n"
            manifest = manifest.replace(above, above + _SHOWS_A_CERTIFICATE)
        self.kubectl("apply", "-f", "-", stdin=manifest.replace("nodeName:", f"nodeName: {machine}" if machine else ""))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=4m")
        self.put(name, "/tmp/endpoints.json", json.dumps({"vip": f"{_VIP}:50100", "pusher": self.pusher}))
        self.kubectl(
            "exec", "-i", name, "--", "sh", "-c", "mkdir -p /tmp/load && tar x -C /tmp/load", stdin=_programs()
        )

    def put(self, pod: str, path: str, content: str | bytes) -> None:
        """Writes a file in a pod."""
        self.kubectl("exec", "-i", pod, "--", "sh", "-c", f"cat > {path}", stdin=content)

    def command(self, *arguments: str, pod: str = "load", check: bool = True) -> str:
        """What `fasttree` says in a client's pod."""
        ask = ("exec", pod, "--", "fasttree", "--endpoints", "/tmp/endpoints.json")
        return self.kubectl(*ask, *arguments, check=check)

    def start_shell(self, machine: str = "") -> None:
        """The examples' pod of an operator."""
        manifest = _SHELL.read_text().replace("namespace: fasttree\n", f"namespace: {self.namespace}\n")
        manifest = manifest.replace("name: fasttree-shell", "name: operator")
        manifest = manifest.replace("\nspec:\n", f"\nspec:\n  nodeName: {machine}\n")
        self.kubectl("apply", "-f", "-", stdin=manifest)
        self.kubectl("wait", "--for=condition=Ready", "pod/operator", "--timeout=4m")

    def operate(self, *arguments: str, check: bool = True) -> str:
        """What `fasttree` says to an operator."""
        return self.kubectl("exec", "operator", "--", "fasttree", *arguments, check=check)

    def wait_until_alike(self) -> None:
        """Every node has the same digest."""
        until(
            "all nodes hold the same",
            lambda: f"{self.nodes} nodes hold the same" in self.operate("verify", check=False),
        )

    @contextlib.contextmanager
    def load(self, several: str = "", *, settle_s: float = 5.0, pod: str = "load") -> Iterator[dict[str, Any]]:
        """Reads and orders in the background; the figures are there when the block ends.

        Args:
            several: gRPC's name for the VIPs, in place of their Service: reads that meet one that is gone are asked of
                another.
            settle_s: How long it goes on after the block.
            pod: Where it runs.
        """
        self._loads += 1
        figures: dict[str, Any] = {}
        arguments = [f"{_VIP}:50100", self.pusher, f"{pod}-{self._loads}", several]
        program = ("python3", "-m", "tests.kubernetes.real.load")
        command = ["kubectl", "--namespace", self.namespace, "exec", "-i", pod, "--", *program]
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
        print(json.dumps(figures), f"at a load of {os.getloadavg()[0]:.1f}")


def check(figures: dict[str, Any], *, some_are_refused: bool = False) -> None:
    """No read failed, and every order is in the log, once; but for those that were refused, where some had to be."""
    assert figures["reads"] > 0
    assert figures["orders"] > figures["refused"]
    assert {name: figures[name] for name in ("failed_reads", "lost", "twice")} == {
        "failed_reads": 0,
        "lost": 0,
        "twice": 0,
    }, figures
    assert (figures["refused"] > 0) == some_are_refused, figures


def deploy(overlay: Path = OVERLAY, namespace: str = NAMESPACE, *, labelled: bool = True, pushers: int = 1) -> Deployed:
    """Applies an overlay with the sample tree, and waits for the first answer through the VIP; then for everything."""
    made = Deployed(namespace, labelled=labelled, pushers=pushers)
    there = made.kubectl("get", "namespace", namespace, "--ignore-not-found", "-o", "name")
    assert not there, f"the cluster has a namespace {namespace}, which these tests would end by deleting: take another"
    applied_s = time.monotonic()
    made.kubectl("apply", "-k", str(overlay))
    made.start_client("load")
    until("the VIP answers", lambda: made.command("member", "10000", check=False))
    made.first_answer_s = time.monotonic() - applied_s
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
    """Takes all of it away, volumes too; nobody waits for what it might still have had to do."""
    made.kubectl("delete", "namespace", made.namespace, "--wait=false")
    made.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")
    made.kubectl("wait", "--for=delete", f"namespace/{made.namespace}", "--timeout=200s")
