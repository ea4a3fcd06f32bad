"""Whether a cluster takes pushes, as `fasttree up` asks before it says that it is ready."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fasttree.command.local.starting import pushes
from fasttree.v1 import coordinator_pb2, pusher_pb2
from services.shared.serving.errors import FailedPreconditionError, PermissionDeniedError
from tests.fakes.cluster import FakeCluster


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "_STANDS_S", 0.5)
    monkeypatch.setattr(pushes, "_ANSWER_S_MAX", 0.5)


async def answers(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, *reasons: str) -> None:
    """The pusher says one after another of why it takes nothing, the last one from then on."""
    told = list(reasons)

    async def get(request: object, context: object) -> pusher_pb2.GetPusherResponse:
        reason = told.pop(0) if len(told) > 1 else told[0]
        return pusher_pb2.GetPusherResponse(log_id="log", closed_reason=reason)

    await put(cluster, monkeypatch, get)


async def put(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Awaitable[Any]]) -> None:
    """The pusher answers so, at the same address."""
    monkeypatch.setattr(cluster.pusher, "GetPusher", answer)
    await cluster.pusher.stop()
    await cluster.pusher.start()


async def test_one_that_takes_them_is_not_waited_for(cluster: FakeCluster) -> None:
    assert await pushes.refused_because(cluster.endpoints) == ""


async def test_what_passes_by_itself_is_waited_for(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await answers(cluster, monkeypatch, "waits for the nodes (0 of 2 did)", "waits for the nodes (1 of 2 did)", "")
    assert await pushes.refused_because(cluster.endpoints) == ""


async def test_what_stands_is_told(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await answers(cluster, monkeypatch, "this is another log")
    assert await pushes.refused_because(cluster.endpoints) == "no pushes are taken: this is another log"


async def test_what_changes_all_the_time_is_told_in_the_end(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "_LOOKS_S_MAX", 1.0)
    await answers(cluster, monkeypatch, *(f"waits for {number}" for number in range(999)))
    assert (await pushes.refused_because(cluster.endpoints)).startswith("no pushes are taken: waits for ")


async def test_of_several_each_says_why_it_can_not_be_active(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pusher", "pusher-2"):
        status = coordinator_pb2.PusherStatus(state=coordinator_pb2.PUSHER_STATE_UNFIT, note="the log was moved")
        cluster.coordinator.cluster.pushers.add(name=name, alive=True, status=status)

    async def stands_by(request: object, context: object) -> pusher_pb2.GetPusherResponse:
        raise PermissionDeniedError("of another role") if may_not else FailedPreconditionError("x", reason="STANDBY")

    await put(cluster, monkeypatch, stands_by)
    may_not = False
    assert await pushes.refused_because(cluster.endpoints) == "pusher, pusher-2 can't be active: the log was moved"
    # Who may not ask does not know.
    may_not = True
    assert await pushes.refused_because(cluster.endpoints) == ""
