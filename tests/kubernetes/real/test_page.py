"""The commands of docs/kubernetes.md, word for word, on the cluster: each does what the page says of it."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fasttree.command.local.free_ports import free_ports
from tests.kubernetes.real.deployed import ROOT, Deployed
from tests.kubernetes.real.pages import PAGE, run
from tests.kubernetes.real.waiting import until

pytestmark = pytest.mark.timeout(400)

_SHELL = "kubectl exec -n fasttree fasttree-shell -- "


@pytest.fixture
def shell(whole: Deployed) -> Deployed:
    """With the page's shell in it."""
    run("kubectl apply -f deploy/k8s/examples/shell.yaml")
    run("kubectl wait -n fasttree --for=condition=Ready pod/fasttree-shell")
    return whole


def _status(deployed: Deployed) -> str:
    return deployed.kubectl("exec", "fasttree-shell", "--", "fasttree", "status", check=False)


def _digests(deployed: Deployed) -> str:
    return deployed.kubectl("exec", "fasttree-shell", "--", "fasttree", "verify")


def test_from_nothing_to_a_served_tree(shell: Deployed) -> None:
    run("kubectl wait -n fasttree --for=condition=complete job/fasttree-sample --timeout=5m")
    pods = run("kubectl get pods -n fasttree -L fasttree.io/role")
    assert re.search(r"fasttree-treenode-\d .* primary", pods)
    assert re.search(r"fasttree-coordinator-\d .* active", pods)
    status = run(_SHELL + "fasttree status")
    assert "primary fasttree-treenode-" in status
    assert "import 1" in status
    front_line = run(_SHELL + "fasttree frontline 10126 --columns member_id,status,rank,pv,gv")
    # Others of the front line may have sold something meanwhile, and columns are as wide as what they hold.
    assert re.search(r"10594 +A +1 +0\.00 +1237\.33", front_line)


def test_the_console_by_its_key(shell: Deployed) -> None:
    shell.kubectl("rollout", "status", "deployment/fasttree-console", "--timeout=2m")
    key = run("kubectl exec -n fasttree deployment/fasttree-console -- cat /var/lib/fasttree/console.key").strip()
    (port,) = free_ports("127.0.0.1", 1)
    way = "kubectl port-forward -n fasttree service/fasttree-console 50500:50500"
    assert f"{way}\n" in PAGE

    def state(*headers: tuple[str, str]) -> str:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/state", headers=dict(headers))
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return f"refused: {error.code}"
        except OSError:
            return ""

    own = ("X-FastTree-Console", "1")
    with subprocess.Popen(way.replace("50500:", f"{port}:").split(), stdout=subprocess.DEVNULL) as forwarding:
        try:
            until("the console shows the cluster", lambda: shell.primary() in state(own, ("X-FastTree-Key", key)))
            assert state(own) == "refused: 401"
        finally:
            forwarding.terminate()


def test_a_switchover(shell: Deployed) -> None:
    before = shell.primary()
    other = next(name for name in ("fasttree-treenode-0", "fasttree-treenode-1") if name != before)
    shell.kubectl("exec", "fasttree-shell", "--", "fasttree", "switchover", "--to", other)
    until("the label follows", lambda: shell.primary() == other)
    run(_SHELL + "fasttree switchover --to fasttree-treenode-1")
    until("the label follows", lambda: shell.primary() == "fasttree-treenode-1")


def test_a_rolling_restart_of_each_part(shell: Deployed) -> None:
    run("kubectl rollout restart -n fasttree statefulset/fasttree-treenode")
    for part in ("statefulset/fasttree-coordinator", "statefulset/fasttree-pusher", "deployment/fasttree-vip"):
        shell.kubectl("rollout", "status", "statefulset/fasttree-treenode", "--timeout=5m")
        shell.kubectl("rollout", "restart", part)
        shell.kubectl("rollout", "status", part, "--timeout=5m")
    shell.wait_until_whole()
    until("both nodes hold the same", lambda: "2 nodes hold the same" in _digests(shell))


@pytest.mark.parametrize(
    "address", ["fasttree-vip:50100", "fasttree-vips:50100", "fasttree-rw:50100", "fasttree-ro:50100"]
)
def test_every_address_answers(shell: Deployed, address: str) -> None:
    assert f"| `{address}` |" in PAGE
    shell.kubectl(
        "exec", "-i", "fasttree-shell", "--", "sh", "-c", "cat > /tmp/one.json", stdin=json.dumps({"vip": address})
    )
    ask = ("exec", "fasttree-shell", "--", "fasttree", "--endpoints", "/tmp/one.json", "member", "10126")
    assert "10126" in until(f"{address} answers", lambda: shell.kubectl(*ask, check=False))


def test_one_more_node_and_one_fewer(shell: Deployed) -> None:
    run("kubectl scale -n fasttree statefulset/fasttree-treenode --replicas=3")
    until("a third node is ready", lambda: shell.ready() == 3)
    until("it has the tree", lambda: re.search(r"fasttree-treenode-2 +passive +passive", _status(shell)))


def test_a_node_whose_volume_is_lost(shell: Deployed) -> None:
    before = json.loads(shell.kubectl("get", "pvc", "state-fasttree-treenode-1", "-o", "json"))["spec"]["volumeName"]
    run("kubectl delete pvc -n fasttree state-fasttree-treenode-1 --wait=false")
    run("kubectl delete pod -n fasttree fasttree-treenode-1 --force")

    def elsewhere() -> bool:
        claims = json.loads(shell.kubectl("get", "pvc", "-o", "json"))["items"]
        volumes = {each["metadata"]["name"]: each["spec"].get("volumeName") for each in claims}
        return volumes.get("state-fasttree-treenode-1", before) not in (before, None)

    until("the node has another volume", elsewhere)
    shell.wait_until_whole()
    until("both nodes hold the same", lambda: "2 nodes hold the same" in _digests(shell))


def test_imports_from_ones_own_machine(shell: Deployed, tmp_path: Path) -> None:
    members = shell.kubectl("exec", "fasttree-shell", "--", "python3.11", "-P", "-m", "fasttree.command.local.sample")
    (tmp_path / "members.csv").write_text(members)
    here = {"cp members.csv": f"cp {tmp_path}/members.csv"}
    run("kubectl cp members.csv fasttree/fasttree-shell:/work/members.csv", **here)
    done = run(_SHELL + "fasttree import /work/members.csv --as-of-position end --wait")
    assert "done, 800 rows" in done
    run("kubectl cp members.csv fasttree/fasttree-pusher-0:/var/lib/fasttree/upload/members.csv", **here)
    newest = int(re.findall(r"^import (\d+) ", done, re.MULTILINE)[-1]) + 1
    run("kubectl exec -n fasttree fasttree-pusher-0 -- touch /var/lib/fasttree/upload/members.csv.done")
    until("the upload folder's file is imported", lambda: f"import {newest} members.csv: done (" in _status(shell))


def test_a_backup_and_its_return(shell: Deployed) -> None:
    run("kubectl apply -k deploy/k8s/overlays/backup")
    run("kubectl create job -n fasttree --from=cronjob/fasttree-backup backup-now")
    shell.kubectl("wait", "--for=condition=complete", "job/backup-now", "--timeout=5m")
    made = shell.kubectl("logs", "job/backup-now").split()[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d{6}Z", made)
    run("kubectl scale -n fasttree statefulset/fasttree-pusher --replicas=0")
    until("the pusher is gone", lambda: not shell.pods("app.kubernetes.io/component=pusher"))
    run("kubectl apply -f deploy/k8s/examples/restore.yaml")
    run("kubectl wait -n fasttree --for=condition=Ready pod/fasttree-restore")
    assert made in run("kubectl exec -n fasttree fasttree-restore -- ls /backup")
    restored = run(
        "kubectl exec -n fasttree fasttree-restore -- "
        "fasttree log restore /backup/2026-11-27T021700Z --folder /var/lib/fasttree/pusher",
        **{"2026-11-27T021700Z": made},
    )
    assert "brought back to /var/lib/fasttree/pusher" in restored
    run("kubectl delete pod -n fasttree fasttree-restore")
    run("kubectl scale -n fasttree statefulset/fasttree-pusher --replicas=1")
    shell.wait_until_whole()
    until("both nodes hold the same", lambda: "2 nodes hold the same" in _digests(shell))
    shell.kubectl("delete", "-k", str(ROOT / "deploy/k8s/overlays/backup"))
