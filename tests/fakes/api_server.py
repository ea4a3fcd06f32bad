"""An API server of Kubernetes over a dict: resourceVersions, label selectors, merge patches, watches, and faults on
demand. It answers as kube-apiserver does where `services/shared/kubernetes` goes by it; tests/conformance and
tests/kubernetes hold both to the same."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

Object = dict[str, Any]
NAMESPACE = "fasttree"


class FakeApiServer:
    """Objects by path. Every change has a version of its own, above all before."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.version = 100
        #: Tokens that are taken; the one of `service_account` at first.
        self.tokens = {"first"}
        #: While set, asked before each request: the status to answer with, None to go on. May wait.
        self.fault: Callable[[str, str], Any] | None = None
        #: A write is done, and its answer never comes.
        self.loses_answers = False
        #: Changes up to here are forgotten: a watch from before is told 410.
        self.forgotten = 0
        #: Method and path of each request.
        self.asked: list[tuple[str, str]] = []
        self.url = ""
        self._events: list[tuple[int, str, str, Object]] = []
        self._happened = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        """Listens; at the same port as before, if it did before."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = int(self._runner.addresses[0][1])
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Ends all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -- as a test changes things

    def put(self, path: str, about: Object) -> Object:
        """Stores an object, whatever was there."""
        kind = "MODIFIED" if path in self.objects else "ADDED"
        return self._store(path, copy.deepcopy(about), kind)

    def remove(self, path: str) -> None:
        """Deletes an object."""
        self.version += 1
        about = copy.deepcopy(self.objects.pop(path))
        about["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", path, about)

    def _store(self, path: str, about: Object, kind: str) -> Object:
        self.version += 1
        metadata = about.setdefault("metadata", {})
        metadata.setdefault("name", path.rpartition("/")[2])
        metadata["resourceVersion"] = str(self.version)
        self.objects[path] = about
        self._tell(kind, path, about)
        return copy.deepcopy(about)

    def _tell(self, kind: str, path: str, about: Object) -> None:
        self._events.append((self.version, kind, path, copy.deepcopy(about)))
        self._happened.set()
        self._happened = asyncio.Event()

    # -- as it answers

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method, path = request.method, request.path
        self.asked.append((method, path))
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _status(401, "Unauthorized")
        if self.fault is not None:
            status = self.fault(method, path)
            if asyncio.iscoroutine(status):
                status = await status
            if status is not None:
                return _status(status, "a fault that the test planted")
        if method == "GET":
            if request.query.get("watch"):
                return await self._watch(request, path)
            return self._get(path, request.query.get("labelSelector", ""))
        status, about = self._write(method, path, json.loads(await request.read()), request.content_type)
        if self.loses_answers and status < 300:
            await asyncio.sleep(3600)
        return web.json_response(about, status=status)

    def _get(self, path: str, selector: str) -> web.Response:
        if path in self.objects:
            return web.json_response(self.objects[path])
        if _is_collection(path):
            items = [each for name, each in self.objects.items() if _is_in(name, path) and _selects(selector, each)]
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        return _status(404, f"{path} not found")

    def _write(self, method: str, path: str, body: Object, content_type: str) -> tuple[int, Object]:
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return 409, _words(409, "already exists")
            return 201, self._store(path, body, "ADDED")
        if path not in self.objects:
            return 404, _words(404, "not found")
        now = self.objects[path]
        if method == "PUT":
            if body["metadata"].get("resourceVersion") not in (None, now["metadata"]["resourceVersion"]):
                return 409, _words(409, "the object has been modified; please apply your changes to the latest version")
            return 200, self._store(path, body, "MODIFIED")
        if content_type != "application/merge-patch+json":
            return 415, _words(415, content_type)
        return 200, self._store(path, _merged(now, body), "MODIFIED")

    async def _watch(self, request: web.Request, path: str) -> web.StreamResponse:
        seen, selector = int(request.query["resourceVersion"]), request.query.get("labelSelector", "")
        if seen < self.forgotten:
            return _status(410, "too old resource version")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            happened = self._happened
            for version, kind, name, about in self._events:
                if version > seen and _is_in(name, path) and _selects(selector, about):
                    await response.write(json.dumps({"type": kind, "object": about}).encode() + b"\n")
                    seen = version
            await happened.wait()


def _is_collection(path: str) -> bool:
    return path.rpartition("/")[2] in ("endpointslices", "pods", "leases")


def _is_in(name: str, collection: str) -> bool:
    return name.rpartition("/")[0] == collection


def _selects(selector: str, about: Object) -> bool:
    labels = about["metadata"].get("labels", {})
    return all(labels.get(each.partition("=")[0]) == each.partition("=")[2] for each in selector.split(",") if each)


def _merged(now: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(now) if isinstance(now, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _words(status: int, message: str) -> Object:
    return {"kind": "Status", "code": status, "message": message}


def _status(status: int, message: str) -> web.Response:
    return web.json_response(_words(status, message), status=status)


@asynccontextmanager
async def fake_api_server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def service_account(folder: Path, token: str = "first") -> Path:
    """What Kubernetes mounts into a pod, but the certificates."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(token)
    (folder / "namespace").write_text(NAMESPACE)
    return folder


def endpoint_slice(service: str, pods: list[str], ports: dict[str, int] | None = None) -> Object:
    """As the API server has it for the pods of a StatefulSet."""
    named = {"report": 50100, "instant": 50201, "http": 50200} if ports is None else ports
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [f"10.0.0.{number + 1}"],
                "hostname": pod,
                "conditions": {"ready": number == 0},
                "targetRef": {"kind": "Pod", "name": pod},
            }
            for number, pod in enumerate(pods)
        ]
        or None,
        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in named.items()],
    }
