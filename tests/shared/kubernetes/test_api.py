"""Calls to an API server: who asks, what comes back, and each thing that can go wrong, in one line."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.shared.config.load import SettingsError
from services.shared.kubernetes.access import AccessError, ServiceAccount, api_server
from services.shared.kubernetes.api import KubernetesApi, KubernetesError
from services.shared.kubernetes.watching import Changed, Failed, Listed, Watch
from tests.fakes.api_server import FakeApiServer, fake_api_server, service_account
from tests.waiting import until

PODS = "/api/v1/namespaces/fasttree/pods"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with fake_api_server() as running:
        yield running


@pytest.fixture
async def api(server: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    api = KubernetesApi(server.url, ServiceAccount(service_account(tmp_path / "account")), 5.0)
    yield api
    await api.close()


def test_the_api_server_is_where_the_pod_is_told() -> None:
    inside = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert api_server(inside) == "https://[fd00::1]:6443"
    assert api_server({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}) == "https://10.96.0.1:443"
    with pytest.raises(SettingsError, match=r"this is no pod .* leave cluster\.nodes_service empty"):
        api_server({})


def test_what_is_not_mounted_is_named(tmp_path: Path) -> None:
    account = ServiceAccount(tmp_path)
    with pytest.raises(AccessError, match=r"token: .*automountServiceAccountToken: true"):
        account.token()
    (tmp_path / "ca.crt").write_text("none")
    with pytest.raises(AccessError, match=r"ca\.crt has no certificates"):
        account.certificates()
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(AccessError, match="token is empty"):
        account.token()


def test_certificates_are_read_anew_when_they_change(tmp_path: Path) -> None:
    def write(name: str) -> None:
        arguments = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", f"/CN={name}"]
        subprocess.run(
            ["openssl", *arguments, "-out", str(tmp_path / "ca.crt")], check=True, capture_output=True, timeout=60
        )

    account = ServiceAccount(tmp_path)
    write("one")
    first = account.certificates()
    assert account.certificates() is first
    write("two")
    assert account.certificates() is not first


async def test_objects_are_made_changed_and_read(server: FakeApiServer, api: KubernetesApi) -> None:
    assert api.namespace == "fasttree"
    made = await api.create(PODS, {"metadata": {"name": "a", "labels": {"x": "1"}}})
    with pytest.raises(KubernetesError, match=r"POST .*pods: 409: already exists"):
        await api.create(PODS, {"metadata": {"name": "a"}})
    await api.patch(f"{PODS}/a", {"metadata": {"labels": {"role": "primary", "x": None}}})
    assert server.objects[f"{PODS}/a"]["metadata"]["labels"] == {"role": "primary"}
    with pytest.raises(KubernetesError) as late:
        await api.replace(f"{PODS}/a", made)
    assert late.value.status == 409
    found = await api.get(f"{PODS}/a")
    replaced = await api.replace(f"{PODS}/a", found)
    assert int(replaced["metadata"]["resourceVersion"]) > int(found["metadata"]["resourceVersion"])


async def test_a_token_that_was_changed_is_read_anew(server: FakeApiServer, api: KubernetesApi, tmp_path: Path) -> None:
    await api.get(PODS)
    server.tokens = {"second"}
    with pytest.raises(KubernetesError, match="401: Unauthorized; the token is not taken"):
        await api.get(PODS)
    service_account(tmp_path / "account", "second")
    assert (await api.get(PODS))["items"] == []


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "403: a fault that the test planted; give the pod's service account the Role"), (500, "500: a fault")],
)
async def test_a_refusal_says_what_was_asked(server: FakeApiServer, api: KubernetesApi, status: int, said: str) -> None:
    server.fault = lambda method, path: status
    with pytest.raises(KubernetesError, match=f"Kubernetes: GET {PODS}: {said}") as refused:
        await api.get(PODS)
    assert refused.value.status == status


async def test_no_answer_is_told_as_that(server: FakeApiServer, tmp_path: Path) -> None:
    api = KubernetesApi(server.url, ServiceAccount(service_account(tmp_path)), 0.2)
    server.fault = lambda method, path: asyncio.sleep(3600)
    with pytest.raises(KubernetesError, match="no answer in time") as slow:
        await api.get(PODS)
    assert slow.value.status == 0
    await server.stop()
    with pytest.raises(KubernetesError, match=f"GET {PODS}: ") as gone:
        await api.get(PODS)
    assert gone.value.status == 0
    await api.close()


class Told:
    """What a watch tells, as names of objects."""

    def __init__(self) -> None:
        self.lists: list[list[str]] = []
        self.changes: list[str] = []
        self.problems: list[str] = []

    def __call__(self, news: Listed | Changed | Failed) -> None:
        match news:
            case Listed(objects):
                self.lists.append([each["metadata"]["name"] for each in objects])
            case Changed(about, gone):
                self.changes.append(("-" if gone else "+") + about["metadata"]["name"])
            case Failed(problem):
                self.problems.append(problem)


async def test_a_watch_tells_all_then_each_change(server: FakeApiServer, api: KubernetesApi) -> None:
    labels = {"labels": {"app": "x"}}
    server.put(f"{PODS}/a", {"metadata": dict(labels)})
    server.put(f"{PODS}/other", {"metadata": {}})
    told = Told()
    watching = asyncio.create_task(Watch(api, lambda: PODS, "app=x", told).run())
    await until(lambda: told.lists == [["a"]], "the list")
    server.put(f"{PODS}/b", {"metadata": dict(labels)})
    server.remove(f"{PODS}/a")
    await until(lambda: told.changes == ["+b", "-a"], "the changes")

    # Away for a while: nothing is told twice, nothing is left out.
    await server.stop()
    server.put(f"{PODS}/c", {"metadata": dict(labels)})
    await until(lambda: told.problems, "the complaint")
    await server.start()
    await until(lambda: told.changes == ["+b", "-a", "+c"], "what happened meanwhile")
    assert told.lists == [["a"]]

    # The API server has forgotten where the watch was: all anew.
    await server.stop()
    server.put(f"{PODS}/d", {"metadata": dict(labels)})
    server.forgotten = server.version
    await server.start()
    await until(lambda: told.lists[1:] == [["b", "c", "d"]], "the list anew")
    server.remove(f"{PODS}/b")
    await until(lambda: told.changes[-1] == "-b", "a change after it")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
