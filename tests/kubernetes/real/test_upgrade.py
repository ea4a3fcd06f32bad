"""The release before Kubernetes, today's, and back, under load: each part of one while the others are of another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kubernetes.real.deployed import ROOT, Deployed, check, delete, deploy
from tests.kubernetes.real.waiting import until
from tools.image.project import version

pytestmark = pytest.mark.timeout(1200)

BEFORE = "before"
_PUSHER = "app.kubernetes.io/component=pusher"


@pytest.fixture(scope="module")
def before() -> Iterator[Deployed]:
    """All of it in the old version, set as both versions know it. `make test-kubernetes` says which commit that is."""
    running = deploy(ROOT / "tests/kubernetes/real/overlays/before", "fasttree-before", labelled=False)
    running.start_shell()
    yield running
    delete(running)


def _set(running: Deployed, tag: str, *parts: str) -> None:
    """Another version of parts, one after another, and each node by itself."""
    for part in parts:
        running.kubectl("set", "image", f"statefulset/fasttree-{part}", f"{part}=localhost/fasttree:{tag}")
        running.kubectl("rollout", "status", f"statefulset/fasttree-{part}", "--timeout=200s")
        pods = running.pods(f"app.kubernetes.io/component={part}")
        assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {f"localhost/fasttree:{tag}"}
    running.wait_until_whole()


def _nodes_go_back_or_say_why_not(running: Deployed) -> None:
    """The log may hold updates of a meaning that the old ones don't know: they halt before these, and serve on."""
    _set(running, BEFORE, "treenode")

    def came_to() -> str:
        if "halted before" in running.operate("status", check=False):
            return "halt and serve on"
        return "hold the same" if "2 nodes hold the same" in running.operate("verify", check=False) else ""

    print("the old nodes", until("the old nodes hold the same, or halt", came_to))
    _set(running, version(), "treenode")
    running.wait_until_alike()


def _pusher_goes_back_or_says_why_not(running: Deployed) -> None:
    """Its log may have a newer form, and then there is no way back without a backup: it says so, and harms nothing."""
    set_image = ("set", "image", "statefulset/fasttree-pusher")
    running.kubectl(*set_image, f"pusher=localhost/fasttree:{BEFORE}")

    def came_to() -> str:
        (pod,) = running.pods(_PUSHER) or [{"spec": {"containers": [{"image": ""}]}}]
        if not pod["spec"]["containers"][0]["image"].endswith(f":{BEFORE}"):
            return ""
        if running.ready(_PUSHER):
            return "goes back"
        said = running.kubectl("logs", "fasttree-pusher-0", check=False)
        return "refuses" if "this program knows" in said and "use a newer one" in said else ""

    came = until("the old pusher is ready, or refuses", came_to)
    print(f"the old pusher {came}")
    if came == "refuses":
        running.kubectl(*set_image, f"pusher=localhost/fasttree:{version()}")
        # A StatefulSet does not replace a pod by itself that never became ready.
        running.kubectl("delete", "pod", "fasttree-pusher-0", "--force")
    running.wait_until_whole()


def test_an_upgrade_and_the_way_back(before: Deployed) -> None:
    before.wait_until_alike()
    with before.load() as figures:
        # Nodes first, and back: until the pusher is of the new version all of it can be undone.
        for tag in (version(), BEFORE):
            _set(before, tag, "treenode")
            before.wait_until_alike()
        _set(before, version(), "treenode", "pusher", "coordinator")
        before.wait_until_alike()
        _nodes_go_back_or_say_why_not(before)
        _pusher_goes_back_or_says_why_not(before)
    check(figures)
    before.wait_until_alike()
