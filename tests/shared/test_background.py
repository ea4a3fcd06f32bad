"""Tasks of a process: one that fails ends it, with one line and its exit code; none dies in silence."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from services.shared.serving.background import Background

START_S = 150.0
FAULT = "a fault that the test planted"

#: A task that runs for as long as the process does, replaced by one that fails after the start; then the service.
PLANTED = """
import asyncio, {module}

async def fail(*_):
    await asyncio.sleep(0.2)
    raise RuntimeError({fault!r})

{module}.{task} = fail
from services.{service}.__main__ import main
main()
"""


async def fails() -> None:
    raise RuntimeError(FAULT)


async def returns() -> None:
    pass


async def test_the_first_failure_is_the_reason() -> None:
    background = Background()
    background.start(asyncio.sleep(0), "ends by itself")
    background.start(fails(), "fails")
    await asyncio.wait_for(background.failed.wait(), START_S)
    background.end(ValueError("later"))
    assert isinstance(background.error, RuntimeError)
    assert background.reason == f"ended by a fault of its own: {FAULT}"


async def test_a_task_that_ends_or_is_cancelled_is_no_failure() -> None:
    background = Background()
    ended = background.start(returns(), "ends by itself")
    cancelled = background.start(fails(), "is cancelled")
    cancelled.cancel()
    await asyncio.gather(ended, cancelled, return_exceptions=True)
    assert not background.failed.is_set()
    assert background.error is None


async def test_an_end_that_is_no_fault_is_told_as_it_is() -> None:
    background = Background()
    background.end(ValueError("another coordinator is active"))
    assert background.failed.is_set()
    assert background.reason == "another coordinator is active"


async def test_what_fails_while_it_is_stopped_is_told() -> None:
    async def breaks() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await fails()

    background = Background()
    background.start(breaks(), "breaks")
    await asyncio.sleep(0)
    await background.stop()
    assert isinstance(background.error, RuntimeError)


@pytest.mark.parametrize(
    ("service", "module", "task", "exit_code"),
    [
        ("coordinator", "services.shared.membership.source", "FileSource.follow", 1),
        ("pusher", "services.pusher.imports.retention", "Retention.run", 1),
        ("treenode", "services.treenode.replication.relayout", "Relayout.run", 70),
    ],
)
async def test_a_task_that_fails_ends_the_process_in_one_line(
    tmp_path: Path, service: str, module: str, task: str, exit_code: int
) -> None:
    hosts = tmp_path / "hosts.50201"
    hosts.write_text("127.0.0.1 1 2\n")
    loopback = {"listen_host": "127.0.0.1", "http_port": "0", "state_folder": str(tmp_path)}
    settings = {
        "coordinator": loopback | {"port": "0"},
        "pusher": loopback | {"port": "0"},
        "treenode": loopback | {"report_port": "0", "instant_port": "0"},
    }[service]
    arguments = [f"cluster.hosts_file={hosts}", *(f"{service}.{field}={value}" for field, value in settings.items())]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PLANTED.format(module=module, task=task, service=service, fault=FAULT)),
        *(word for argument in arguments for word in ("--set", argument)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), START_S)
    lines = errors.decode().splitlines()
    assert lines[-1] == f"error: {service}: ended by a fault of its own: {FAULT}", errors.decode()
    assert process.returncode == exit_code
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    losses = 0

    async def loses_two() -> None:
        nonlocal losses
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                losses += 1
                if losses > 2:
                    raise

    background = Background()
    background.start(loses_two(), "loses two")
    await asyncio.sleep(0)
    await background.stop()
    assert losses == 3
