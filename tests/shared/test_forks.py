"""A forked child collects no garbage, for what that would wait for is not there; and no handler of gRPC ends it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FORKS = """
import gc, os, subprocess, sys
{imports}
class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        if os.getpid() != PARENT:
            os._exit(9)

PARENT = os.getpid()
gc.set_threshold(1)
Garbage()
child = os.fork()
if child == 0:
    [[] for _ in range(10_000)]
    os._exit(3 if gc.isenabled() else 4)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
enabled = gc.isenabled()
gc.disable()
if os.fork() == 0:
    os._exit(0)
print(code, enabled, gc.isenabled())
"""


@pytest.mark.parametrize("imports", ["import services.shared", "import fasttree.command.main"])
def test_a_forked_child_collects_nothing_and_its_parent_goes_on_as_before(imports: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _FORKS.format(imports=imports)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "4 True False\n"


_PROGRAMS = """
import os, subprocess, sys, threading
import services
import grpc
from concurrent.futures import ThreadPoolExecutor

server = grpc.server(ThreadPoolExecutor(2))
channel = grpc.insecure_channel(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
server.start()
done = threading.Event()

def call():
    while not done.is_set():
        try:
            channel.unary_unary("/not/there")(b"")
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED

callers = [threading.Thread(target=call) for _ in range(2)]
for each in callers:
    each.start()
# With something to do before its program begins a child is forked; without, it shares the parent's memory until then.
ends = [subprocess.run(["true"], preexec_fn=os.getpid).returncode for _ in range(400)]
done.set()
for each in callers:
    each.join()
server.stop(None)
print(set(ends))
"""


def test_a_program_that_is_started_while_threads_are_in_calls_of_grpc_begins() -> None:
    """gRPC's handlers of forks end one such child in a hundred by a segmentation fault, before its program begins."""
    ran = subprocess.run([sys.executable, "-c", _PROGRAMS], capture_output=True, text=True, check=True)
    assert ran.stdout == "{0}\n"
