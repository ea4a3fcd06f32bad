"""A real etcd of one member or three, as processes of this user on ports of loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster.cluster import free_port
from tests.kubernetes.binaries import ensure

_READY_S = 60.0


@dataclass
class Member:
    """One of them."""

    name: str
    address: str
    metrics: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It may not be healthy yet when this returns."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def kill(self) -> None:
        """Ends it at once, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """It neither answers nor ends."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        """Goes on, or starts."""
        if self.process is None:
            self.start()
        else:
            self.process.send_signal(signal.SIGCONT)

    def is_healthy(self) -> bool:
        """Whether it answers as one of a cluster that has a leader."""
        try:
            with urllib.request.urlopen(f"{self.metrics}/health", timeout=2.0) as answer:
                return bool(json.load(answer)["health"] == "true")
        except (OSError, ValueError):
            return False

    def is_leader(self) -> bool:
        """Whether it says so."""
        try:
            with urllib.request.urlopen(f"{self.metrics}/metrics", timeout=2.0) as answer:
                return "\netcd_server_is_leader 1" in answer.read().decode()
        except OSError:
            return False


@dataclass
class Etcd:
    """The cluster; each member can be killed and started again."""

    members: list[Member] = field(default_factory=list)

    @property
    def endpoints(self) -> list[str]:
        """Where clients find them."""
        return [member.address for member in self.members]

    def wait_healthy(self) -> None:
        """Until all members are. Raises AssertionError where they don't become so."""
        deadline_s = time.monotonic() + _READY_S
        while not all(member.is_healthy() for member in self.members):
            assert time.monotonic() < deadline_s, "\n".join(each.log.read_text()[-2000:] for each in self.members)
            time.sleep(0.05)

    def leader(self) -> Member:
        """The one that leads. Raises AssertionError where none does for long."""
        deadline_s = time.monotonic() + _READY_S
        while time.monotonic() < deadline_s:
            for member in self.members:
                if member.process is not None and member.is_leader():
                    return member
            time.sleep(0.05)
        raise AssertionError("no member leads")


@contextmanager
def running_etcd(
    folder: Path, members: int = 1, *, certificate: Path | None = None, client_ca: Path | None = None
) -> Iterator[Etcd]:
    """Runs it with its data in `folder`. With a certificate (its key beside it, `.key`) clients need TLS; with
    `client_ca`, a certificate that it signed as well."""
    program = str(ensure(("etcd",), print)["etcd"])
    scheme = "https" if certificate else "http"
    names = [f"m{number}" for number in range(members)]
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in names}
    etcd = Etcd()
    for name in names:
        address, metrics = f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        command = [
            program,
            f"--name={name}",
            f"--data-dir={folder}/{name}",
            f"--listen-client-urls={scheme}://{address}",
            f"--advertise-client-urls={scheme}://{address}",
            f"--listen-peer-urls={peers[name]}",
            f"--initial-advertise-peer-urls={peers[name]}",
            "--initial-cluster=" + ",".join(f"{each}={url}" for each, url in peers.items()),
            f"--listen-metrics-urls={metrics}",
            "--unsafe-no-fsync",
        ]
        if certificate:
            command += [f"--cert-file={certificate}", f"--key-file={certificate.with_suffix('.key')}"]
        if client_ca:
            command += ["--client-cert-auth", f"--trusted-ca-file={client_ca}"]
        etcd.members.append(Member(name, address, metrics, command, folder / f"{name}.log"))
    with ExitStack() as running:
        for member in etcd.members:
            running.callback(member.kill)
            member.start()
        etcd.wait_healthy()
        yield etcd
