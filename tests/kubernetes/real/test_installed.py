"""The other ways to install it, each beside the demo in a namespace of its own: Helm, and the production overlay."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.real.certificates import make_secrets, make_secrets_by_cert_manager
from tests.kubernetes.real.deployed import ROOT, Deployed, check, delete
from tests.kubernetes.real.pages import run
from tests.kubernetes.real.waiting import until

pytestmark = pytest.mark.timeout(900)

_EXPORTS = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: exports}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def _import_by_a_job(running: Deployed) -> None:
    """As `examples/import-job.yaml` has it: an export lies on a volume, and the Job takes it."""
    text = (ROOT / "deploy/k8s/examples/import-job.yaml").read_text()
    job = text.replace("namespace: fasttree\n", f"namespace: {running.namespace}\n")
    # A pod that writes the export: the Job's own, with another command and a volume that it may write to.
    export = job.replace("generateName: fasttree-import-", "name: export")
    export = export.replace("command: [fasttree]", "command: [sh, -euc]").replace(
        "args: [import, /exports/members.csv, --as-of-position, end, --wait]",
        "args: ['python3.11 -P -m fasttree.command.local.sample > /exports/members.csv']",
    )
    export = export.replace(", readOnly: true}\n            - {name: tmp", "}\n            - {name: tmp")
    export = export.replace("{claimName: exports, readOnly: true}", "{claimName: exports}")
    running.kubectl("apply", "-f", "-", stdin=_EXPORTS)
    running.kubectl("create", "-f", "-", stdin=export)
    running.kubectl("wait", "--for=condition=complete", "job/export", "--timeout=3m")
    name = running.kubectl("create", "-f", "-", "-o", "name", stdin=job).strip()
    running.kubectl("wait", "--for=condition=complete", name, "--timeout=3m")
    assert "done, 800 rows" in running.kubectl("logs", name)


def _serves(running: Deployed) -> None:
    """Imported by a Job, it serves; every node has the tree."""
    until("the pusher is there", lambda: running.ready("app.kubernetes.io/component=pusher"))
    _import_by_a_job(running)
    running.start_client("load")
    running.start_shell()
    running.wait_until_whole()
    assert "10126" in until("the VIP answers", lambda: running.command("member", "10126", check=False))
    running.wait_until_alike()


@pytest.fixture
def helm(deployed: Deployed, tmp_path: Path) -> Iterator[Deployed]:
    """A release, by the page's commands."""
    assert deployed.namespace  # the demo, whose priority class it uses
    running = Deployed("fasttree-helm", sealed=True)
    running.nodes = 3
    own = {"namespace fasttree": "namespace fasttree-helm"}
    run("kubectl create namespace fasttree", **own)
    run("kubectl label namespace fasttree pod-security.kubernetes.io/enforce=restricted", **own)
    make_secrets(running, tmp_path / "certs")
    # The class of the demo is there already; the machines are small.
    own["replicas=3"] = "replicas=3 --set priorityClass.create=false --set treenode.resources.requests.cpu=100m"
    install = "helm install fasttree deploy/k8s/helm/fasttree --namespace fasttree"
    run(f"{install} --set treenode.replicas=3 --set tls.mode=mutual", **own)
    yield running
    delete(running)


def _helm(*arguments: str) -> None:
    command = ["helm", *arguments, "--namespace", "fasttree-helm"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert ran.returncode == 0, ran.stderr


def test_a_release_of_helm_serves_is_upgraded_under_load_and_goes(helm: Deployed) -> None:
    _serves(helm)
    before = {pod["metadata"]["uid"] for pod in helm.pods()}
    chart = ("deploy/k8s/helm/fasttree", "--reuse-values")
    with helm.load() as figures:
        _helm(
            "upgrade", "fasttree", *chart, "--set", "settings.treenode.drain_notice_s=4", "--set", "backup.enabled=true"
        )
        helm.kubectl("rollout", "status", "statefulset/fasttree-treenode", "--timeout=200s")
        helm.wait_until_whole()
    check(figures)
    assert not before & {pod["metadata"]["uid"] for pod in helm.pods()}
    assert "fasttree-backup" in helm.kubectl("get", "cronjobs", "-o", "name")
    _helm("uninstall", "fasttree")
    until("no pod of the release is left", lambda: not helm.pods("app.kubernetes.io/part-of=fasttree"))
    # Volumes have what no other place has: they stay until somebody deletes them.
    assert "state-fasttree-treenode-0" in helm.kubectl("get", "pvc", "-o", "name")


@pytest.fixture
def production() -> Iterator[Deployed]:
    """The production overlay, with certificates of cert-manager's; it has no tree before somebody imports one."""
    running = Deployed("fasttree-production", sealed=True)
    running.nodes = 3
    running.kubectl("create", "namespace", running.namespace)
    make_secrets_by_cert_manager(running)
    running.kubectl("apply", "-k", str(ROOT / "tests/kubernetes/real/overlays/production"))
    yield running
    delete(running)


def test_the_production_overlay_serves_and_backs_up(production: Deployed) -> None:
    _serves(production)
    machines = {production.machine_of(pod["metadata"]["name"]) for pod in production.pods()}
    assert len(machines) == min(3, len(json.loads(production.kubectl("get", "nodes", "-o", "json"))["items"]))
    production.kubectl("create", "job", "--from=cronjob/fasttree-backup", "backup-now")
    production.kubectl("wait", "--for=condition=complete", "job/backup-now", "--timeout=3m")
