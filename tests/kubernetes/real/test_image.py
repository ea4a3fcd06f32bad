"""The image as a pod has it: a read-only root, a user that nobody knows, and few folders to write to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fasttree.command.local.free_ports import free_ports
from tests.kubernetes.real.waiting import until
from tools.image.contents import sha256_of
from tools.image.project import ENTRY_POINT, ENVIRONMENT, ROOT, version
from tools.image.sandbox import command_in

ARCHIVE = ROOT / "dist" / f"fasttree-{version()}.oci.tar"
USER = 12_345
#: A node that has compiled something is not ready so soon: a single kernel takes a second, all of them a minute.
READY_S = 30.0


#: Tells which of the product's modules can't be imported, and for want of what.
_IMPORTS = """
import importlib, json, pathlib
failed, home = {}, pathlib.Path("/opt/fasttree")
for path in sorted([*home.glob("services/**/*.py"), *home.glob("fasttree/**/*.py")]):
    name = ".".join(path.relative_to(home).with_suffix("").parts).removesuffix(".__init__")
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = error.name or str(error)
import nats, nkeys, obstore, psycopg  # where a setting asks for them
print(json.dumps(failed))
"""


#: What says in a line that it can't be done in the slim image, beside nodes (`tests/shared/test_slim_image.py`).
_BY_WORD = ("services.shared.mapping.parquet",)


class Ports(NamedTuple):
    """Of the services, none of which knows that it is in a root of its own."""

    coordinator: int
    coordinator_http: int
    pusher: int
    pusher_http: int
    report: int
    instant: int
    http: int

    def settings(self) -> str:
        """The file of all."""
        return f"""
[cluster]
coordinator = "127.0.0.1:{self.coordinator}"
hosts_file = "/etc/fasttree/hosts"
[coordinator]
port = {self.coordinator}
http_port = {self.coordinator_http}
state_folder = "/var/lib/fasttree/coordinator"
[pusher]
port = {self.pusher}
http_port = {self.pusher_http}
state_folder = "/var/lib/fasttree/pusher"
[treenode]
report_port = {self.report}
instant_port = {self.instant}
http_port = {self.http}
state_folder = "/var/lib/fasttree/treenode"
"""


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, unpacked as a container engine would."""
    folder = tmp_path_factory.mktemp(request.param)
    folder.chmod(0o755)
    with tarfile.open(ARCHIVE) as archive:

        def read(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        index = json.loads(read("index.json"))["manifests"]
        (digest,) = [
            entry["digest"]
            for entry in index
            if entry["annotations"]["io.containerd.image.name"] == f"localhost/{request.param}:{version()}"
        ]
        for layer in json.loads(read(f"blobs/sha256/{digest.removeprefix('sha256:')}"))["layers"]:
            content = read(f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}")
            subprocess.run(["tar", "--extract", "--directory", str(folder)], input=content, check=True)
    return folder


def end(running: subprocess.Popen[bytes]) -> None:
    """Kills a program that runs there, and what it has started.

    Its own process is the child of the one that was started here, which it would outlive: the kernel forgets whose end
    it was to share when it becomes another user.
    """
    for child in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    running.wait()


class Pod(NamedTuple):
    """An image's root, and what a pod lays over it."""

    root: Path
    folder: Path
    ports: Ports

    def command(self, *arguments: str) -> list[str]:
        """The command line of a program in it."""
        binds = {"/etc/fasttree": "settings", "/var/lib/fasttree": "state", "/tmp": "tmp"}
        folders = {inside: self.folder / name for inside, name in binds.items()}
        return command_in(self.root, arguments, ENVIRONMENT, user=USER, binds=folders)

    @contextlib.contextmanager
    def service(self, name: str) -> Iterator[None]:
        """Runs a service; what it says is in a file of its name."""
        with (self.folder / f"{name}.log").open("ab") as log, subprocess.Popen(
            self.command(ENTRY_POINT, f"services.{name}"), stdout=log, stderr=log
        ) as running:  # fmt: skip
            try:
                yield
            finally:
                end(running)

    def said(self, name: str) -> str:
        """Its log so far."""
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture
def pod(root: Path, tmp_path: Path) -> Pod:
    """Nothing runs in it yet."""
    made = Pod(root, tmp_path, Ports(*free_ports("127.0.0.1", len(Ports._fields))))
    for name in ("settings", "state", "tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    (tmp_path / "settings" / "cluster.toml").write_text(made.ports.settings())
    (tmp_path / "settings" / "hosts").write_text(f"127.0.0.1 {made.ports.report} {made.ports.instant}\n")
    endpoints = {"pusher": f"127.0.0.1:{made.ports.pusher}", "vip": f"127.0.0.1:{made.ports.report}"}
    (tmp_path / "settings" / "endpoints.json").write_text(json.dumps(endpoints))
    return made


def answers(port: int, page: str) -> bool:
    """Whether a page of health says yes."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=1):
        return True
    return False


@pytest.mark.parametrize("root", ["fasttree", "fasttree-slim"], indirect=True)
def test_coordinator_and_pusher_run_as_anybody_and_write_to_their_volume_alone(pod: Pod) -> None:
    with pod.service("coordinator"), pod.service("pusher"):
        until("the coordinator is alive", lambda: answers(pod.ports.coordinator_http, "livez"))
        until("the pusher is alive", lambda: answers(pod.ports.pusher_http, "livez"))
    written = list((pod.folder / "state").rglob("*"))
    assert {path.name for path in written} >= {"coordinator", "pusher", "log.db"}
    assert {path.stat().st_uid for path in written} == {USER}


@pytest.mark.parametrize("root", ["fasttree", "fasttree-slim"], indirect=True)
def test_the_command_is_there(pod: Pod) -> None:
    said = subprocess.run(pod.command("fasttree", "--version"), check=True, capture_output=True, text=True).stdout
    assert said == f"fasttree {version()}\n"


@pytest.mark.parametrize("root", ["fasttree-slim"], indirect=True)
def test_what_the_slim_image_can_not_do_it_says_in_a_line_with_the_image_that_can(pod: Pod) -> None:
    (pod.folder / "tmp/members.csv").write_text("member_id,sponsor_id,status,rank,joined_on,pv\n")
    for command in ((ENTRY_POINT, "services.treenode"), ("fasttree", "import", "/tmp/members.csv", "--check")):
        ran = subprocess.run(pod.command(*command), capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        line = ran.stderr.splitlines()[-1]
        assert "Traceback" not in ran.stderr
        assert line.startswith("error: ")
        assert "the image fasttree" in line


@pytest.mark.parametrize("root", ["fasttree", "fasttree-slim"], indirect=True)
def test_the_console_starts_in_it(pod: Pod) -> None:
    (pod.folder / "settings" / "cluster.toml").write_text(f"[console]\nport = {pod.ports.http}\n")
    with pod.service("console"):
        until("the console is alive", lambda: answers(pod.ports.http, "livez"))


@pytest.mark.parametrize("root", ["fasttree", "fasttree-slim"], indirect=True)
def test_everything_that_the_product_imports_is_there(pod: Pod) -> None:
    slim = "slim" in pod.root.name
    ran = subprocess.run(pod.command("python3", "-P", "-c", _IMPORTS), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    failed = json.loads(ran.stdout)
    assert set(failed.values()) <= ({"llvmlite", "numba", "numba.core", "pyarrow"} if slim else set()), failed
    assert all(name.startswith("services.treenode.") or name in _BY_WORD for name in failed), failed


@pytest.mark.parametrize("root", ["fasttree"], indirect=True)
def test_a_node_compiles_nothing_and_is_ready_soon(pod: Pod) -> None:
    with pod.service("coordinator"), pod.service("pusher"):
        with pod.service("treenode"):
            sample = "python3 -P -m fasttree.command.local.sample > /tmp/members.csv"
            load = (
                "fasttree --endpoints /etc/fasttree/endpoints.json import /tmp/members.csv --as-of-position end --wait"
            )
            until("the pusher is alive", lambda: answers(pod.ports.pusher_http, "livez"))
            subprocess.run(pod.command("sh", "-euc", f"{sample}; {load}"), check=True)
            until("the node is ready", lambda: answers(pod.ports.http, "readyz"))
        until("the node is gone", lambda: not answers(pod.ports.http, "livez"))
        started_s = time.monotonic()
        with pod.service("treenode"):
            until("the node is ready again", lambda: answers(pod.ports.http, "readyz"))
            ready_s = time.monotonic() - started_s
    print(f"ready {ready_s:.1f} s after its start")
    assert "compil" not in pod.said("treenode")
    assert ready_s < READY_S


@pytest.mark.timeout(600)
def test_the_archive_is_the_same_whoever_builds_it_when_and_where(tmp_path: Path) -> None:
    digests = []
    for number, (seed, umask) in enumerate((("1", 0o022), ("2", 0o077))):
        clone = tmp_path / f"{'further/' * number}clone"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(clone)], check=True)
        command = [sys.executable, "-P", "-m", "tools.image", "--output", str(clone / "dist")]
        environment = {**os.environ, "PYTHONPATH": str(clone), "PYTHONHASHSEED": seed}
        ran = subprocess.run(command, cwd=clone, env=environment, umask=umask, check=True, stdout=subprocess.PIPE)
        told = json.loads(ran.stdout)
        digests.append([told["images"], sha256_of(Path(told["archive"]))])
        Path(told["archive"]).unlink()
    assert len(digests[0][0]) == 3
    assert digests[0] == digests[1]
