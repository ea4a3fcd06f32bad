"""A service that is asked to end before it has started ends at once."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

_SERVICE = """
import asyncio, time
from services.shared.log_lines import configure_logging
from services.shared.serving.process import run

async def start():
    print("starts", flush=True)
    await asyncio.to_thread(time.sleep, 600)

configure_logging("slow", "INFO")
run(start)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_is_heard_while_it_starts(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVICE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "starts\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ends before it has started" in told


def test_an_end_that_was_held_back_until_it_could_be_heard_is_heard() -> None:
    """As the container's first process is started, which gets nothing that it has no handler for."""
    late = 'import time\nprint("is not there yet", flush=True)\ntime.sleep(1)\n' + _SERVICE
    process = subprocess.Popen(
        ["env", "--block-signal=TERM", sys.executable, "-c", late],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "is not there yet\n"
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ends before it has started" in told
