"""Ways into a cluster of Kubernetes for as long as a command runs: `kubectl port-forward`, by the user's own kubectl.

kubectl knows the contexts, the logins and the proxies that its user has; nothing of that is done here. Each way leads
to one pod: when that ends, so does the way, and the command is to be given again.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from typing import IO

from fasttree.client import Endpoints, NodeEndpoint
from fasttree.command.processes import die_with_parent, inherited_environment

#: What kubectl has for a login, and to find a pod, in seconds.
_READY_S = 30.0
_END_S = 3.0
_WORDS_MAX = 300
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:([0-9]+) -> ([0-9]+)")
_SERVICES = {
    "vip": ("fasttree-vip", 50100),
    "pusher": ("fasttree-pusher", 50300),
    "coordinator": ("fasttree-coordinator", 50400),
}
#: Ways that few commands need: without one, it says so where it is missed.
_HTTP = {"pusher": ("fasttree-pusher", 50310), "coordinator": ("fasttree-coordinator", 50410)}
_NODE_PORTS = {"report": 50100, "instant": 50201, "http": 50200}
_NODES = "app.kubernetes.io/name=fasttree,app.kubernetes.io/component=treenode"


class ForwardError(Exception):
    """There is no way into the cluster: one line with the mend."""


class PortForwards(ExitStack):
    """The ways into one cluster; they end with it.

    Args:
        context: Of the user's kubeconfig.
        namespace: Where the cluster's Services are.
    """

    def __init__(self, context: str, namespace: str) -> None:
        super().__init__()
        self._kubectl = ["kubectl", f"--context={context}", f"--namespace={namespace}"]
        #: What can't be reached, in a line each: the command may not need it.
        self.problems: list[str] = []

    def open(self) -> Endpoints:
        """Where everything of the cluster is now. Raises ForwardError where there is no way to any part."""
        pods = self._nodes()
        wanted = {
            **{part: _Forward(self._kubectl, f"service/{name}", [port]) for part, (name, port) in _SERVICES.items()},
            **{pod: _Forward(self._kubectl, pod, list(_NODE_PORTS.values())) for pod in pods},
        }
        figures = {part: _Forward(self._kubectl, f"service/{name}", [port]) for part, (name, port) in _HTTP.items()}
        for forward in (*wanted.values(), *figures.values()):
            self.callback(forward.end)
        deadline_s = time.monotonic() + _READY_S
        for forward in wanted.values():
            if problem := forward.wait(deadline_s):
                self.problems.append(problem)
        if len(self.problems) == len(wanted):
            raise ForwardError(self.problems[0])
        found = {part: wanted[part].address(port) for part, (_, port) in _SERVICES.items()}
        nodes = [
            NodeEndpoint(
                name=pod.rpartition("/")[2],
                report=wanted[pod].address(_NODE_PORTS["report"]),
                instant=wanted[pod].address(_NODE_PORTS["instant"]),
                http=wanted[pod].address(_NODE_PORTS["http"]),
            )
            for pod in pods
        ]
        led = [part for part, forward in figures.items() if not forward.wait(deadline_s)]
        return Endpoints(
            vip=found["vip"],
            pusher=found["pusher"],
            coordinator=found["coordinator"],
            nodes=tuple(nodes),
            http={part: figures[part].address(_HTTP[part][1]) for part in led},
        )

    def _nodes(self) -> list[str]:
        """Names of the nodes' pods, as `pod/NAME`."""
        command = [*self._kubectl, "get", "pods", f"--selector={_NODES}", "--output=name", "--request-timeout=10s"]
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=_READY_S, check=False, env=inherited_environment()
            )
        except OSError as error:
            raise ForwardError(f"--context needs kubectl on PATH, which can't be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise ForwardError(f"kubectl has not answered in {_READY_S:g} s: try `{' '.join(command)}`") from None
        if ran.returncode:
            raise ForwardError(f"kubectl: {_words(ran.stderr)}")
        return ran.stdout.split()


class _Forward:
    """One kubectl, which leads from ports of this machine to ports of one pod."""

    def __init__(self, kubectl: list[str], target: str, ports: list[int]) -> None:
        self._target, self._ports = target, ports
        self._found: dict[int, int] = {}
        self._told = threading.Event()
        self._errors: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - `end` closes it
        # Its own session: Ctrl-C is for the command, which ends this one when it is done with it.
        self._process = subprocess.Popen(
            [
                *(*kubectl, "port-forward", "--address=127.0.0.1", "--pod-running-timeout=10s", target),
                *(f":{port}" for port in ports),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=die_with_parent(),
            env=inherited_environment(),
        )
        threading.Thread(target=self._listen, name=f"ports of {target}", daemon=True).start()

    def _listen(self) -> None:
        """Until it ends: a line that nobody reads would hold it up."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := _FORWARDING.search(line):
                self._found[int(found[2])] = int(found[1])
                if len(self._found) == len(self._ports):
                    self._told.set()
        self._told.set()

    def wait(self, deadline_s: float) -> str:
        """Why there is no way; empty where there is one."""
        if not self._told.wait(max(0.0, deadline_s - time.monotonic())):
            return f"{self._target}: kubectl has opened no port in {_READY_S:g} s"
        if len(self._found) == len(self._ports):
            return ""
        self._process.wait(_END_S)
        self._errors.seek(0)
        return f"{self._target}: kubectl: {_words(self._errors.read(10_000))}"

    def address(self, port: int) -> str:
        """host:port here; empty where there is no way."""
        return f"127.0.0.1:{self._found[port]}" if len(self._found) == len(self._ports) else ""

    def end(self) -> None:
        """Ends kubectl, and waits for its end."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def _words(said: str) -> str:
    """The last line of what kubectl says, without its own `error: `."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ").removeprefix("Error: ")[:_WORDS_MAX] if lines else "it says nothing"
