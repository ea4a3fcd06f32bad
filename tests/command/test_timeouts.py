"""`--timeout` means what it says, whatever is asked, and whoever does not answer: nobody listens, somebody takes the
connection and says nothing, somebody takes the call and says nothing."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import grpc
import pytest
from click.testing import CliRunner

from fasttree.client import Client, Endpoints, FastTreeClientError, NodeEndpoint, Retries, UploadOptions
from fasttree.command.main import cli
from fasttree.command.session import CommandError, Session
from fasttree.v1 import report_pb2

TIMEOUT_S = 0.5
#: Of a machine that is busy. A call that knows nothing of the time-out takes longer, or for ever.
PATIENCE_S = 20.0

#: What commands are given that need it; several times where they ask in several ways.
_GIVEN: dict[str, list[list[str]]] = {
    "push": [["updates.jsonl"], ["nothing.jsonl"], ["updates.jsonl", "--ack", "all"]],
    "import file": [["members.csv", "--as-of-position", "0"], ["members.csv", "--as-of-position", "end", "--wait"]],
    "import rollback": [[], ["--wait"]],
    "log dump": [[], ["--from", "1", "--to", "5"]],
    "log skip": [["3", "--reason", "why"]],
    "log adopt": [["--reason", "why"]],
    "erase": [["10420"], ["10420", "--status"]],
    "follow": [[], ["--from", "1"]],
    "top": [["--count", "1", "--every", "0.1"]],
    "drill": [["--yes", "--no-kill", "--wait", "1"]],
    "node add": [["127.0.0.1", "50300", "50301", "--hosts", "hosts"]],
    "node remove": [["127.0.0.1", "--hosts", "hosts"]],
    "period open": [["2026-12"]],
    "period close": [["2026-10"]],
    "volume-type add": [["QV"]],
    "column declare": [["shirt", "text"]],
    "rules set": [["--import-removed-percent-max", "5"]],
    "held drop": [["3", "--reason", "why"]],
    "held retry": [["3", "--reason", "why"]],
    "downline": [["A"], ["A", "--format", "csv"]],
    "datatrax distributor-change": [["A", "A", "--status", "active"]],
    "message preview": [["A", "--channel", "sms", "--template", "hello"]],
    "message send": [["A", "--id", "m1", "--channel", "sms", "--template", "hello"]],
}

#: What does its work whoever answers, and tells what it could not have.
_WORKS_ALL_THE_SAME = {"bundle"}
#: What starts a process of the node's code besides, which takes as long as it takes on a busy machine.
_PATIENCE_S = {"bundle": 120.0, "doctor": 120.0}


def _leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _leaves(each, f"{path} {name}".strip())
    elif "--timeout" in {option for parameter in command.params for option in parameter.opts}:
        yield path, command


def _asked() -> Iterator[str]:
    """Every command that takes --timeout."""
    for path, command in _leaves(cli):
        names = [param.name for param in command.params if isinstance(param, click.Argument) and param.required]
        for given in _GIVEN.get(path, [["A" for _ in names]]):
            yield " ".join([path, *given])


@contextmanager
def _nobody() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def _no_word() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        yield listening.getsockname()[1]


@contextmanager
def _no_answer() -> Iterator[int]:
    over = threading.Event()

    class Mute(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            def wait(requests: Any, context: Any) -> Iterator[bytes]:
                left = threading.Event()
                context.add_callback(left.set)
                while not (left.wait(0.1) or over.is_set()):
                    pass
                # Else whoever has left a moment later gets an answer: nothing, and that all is well.
                context.abort(grpc.StatusCode.CANCELLED, "nobody waits any more")
                yield from ()

            return grpc.stream_stream_rpc_method_handler(wait)

    with ThreadPoolExecutor(64) as threads:
        server = grpc.server(threads, handlers=[Mute()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        over.set()
        server.stop(0).wait()


DEAD: dict[str, Callable[[], Any]] = {"nobody": _nobody, "no_word": _no_word, "no_answer": _no_answer}


@pytest.fixture(params=DEAD)
def dead(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoints]:
    """A cluster of which no part answers, and a folder with what the commands read."""
    monkeypatch.chdir(tmp_path)
    Path("updates.jsonl").write_text('{"update_id": "o", "volume_posted": {"member_id": "A", "amount": "1.00"}}\n')
    Path("nothing.jsonl").write_text("")
    Path("members.csv").write_text("member_id,sponsor_id\nA,\n")
    Path("hosts").write_text("127.0.0.1 50100 50201\n")
    with ExitStack() as until_then:
        address = f"127.0.0.1:{until_then.enter_context(DEAD[request.param]())}"
        nodes = tuple(NodeEndpoint(name=name, report=address, instant=address) for name in ("n1", "n2"))
        endpoints = Endpoints(vip=address, pusher=address, coordinator=address, messages=address, nodes=nodes)
        endpoints.write(Path("endpoints.json"))
        monkeypatch.setenv("FASTTREE_ENDPOINTS", "endpoints.json")
        yield endpoints


@pytest.mark.timeout(900)
def test_every_command_ends_in_time(dead: Endpoints) -> None:
    late, taken = [], []
    for line in _asked():
        begun_s = time.monotonic()
        ran = CliRunner().invoke(cli, [*line.split(), "--timeout", str(TIMEOUT_S)], obj=Session())
        if time.monotonic() - begun_s > _PATIENCE_S.get(line, PATIENCE_S):
            late.append(line)
        if line in _WORKS_ALL_THE_SAME:
            assert ran.exit_code == 0, ran.output
        elif not isinstance(ran.exception, CommandError | FastTreeClientError):
            taken.append(f"{line}: {ran.exception!r} {ran.output[-500:]}")
    assert (late, taken) == ([], [])


async def test_every_stream_of_the_client_ends_in_time(dead: Endpoints) -> None:
    async def all_of(answers: Any) -> None:
        async for _ in answers:
            pass

    async with Client(dead, retries=Retries(timeout_s=TIMEOUT_S, patience_s=TIMEOUT_S)) as client:
        asked = {
            "push": all_of(client.push([])),
            "watch_import": all_of(client.watch_import()),
            "read_log": all_of(client.read_log(1, 5)),
            "stream_downline": all_of(client.reports.stream_downline(report_pb2.StreamDownlineRequest(member_id="A"))),
            "upload_import": client.upload_import(Path("members.csv"), UploadOptions(as_of_position=0)),
        }
        for name, call in asked.items():
            with pytest.raises(FastTreeClientError):
                async with asyncio.timeout(PATIENCE_S):
                    await call
                pytest.fail(f"{name} has an answer of nobody")
