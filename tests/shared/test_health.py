"""Health checks that are answered by bytes which are there already: they say what the library's servicer says."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2

from services.shared.serving.standard.health import Health

NAMES = ("", "ready", "primary")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def said(health: Health) -> list[int]:
    """Of each name, by the servicer and at once alike."""
    found = []
    servicer: Any = health.servicer
    for name in NAMES:
        request = health_pb2.HealthCheckRequest(service=name)
        answer = await servicer.Check(request, None)
        assert health.at_once(request.SerializeToString()) == answer.SerializeToString()
        found.append(answer.status)
    return found


async def test_each_name_is_what_it_was_set_to_last_and_nothing_serves_after_the_drain() -> None:
    health = Health()
    for name in NAMES:
        await health.set(name, name == "")
    assert await said(health) == [SERVING, NOT_SERVING, NOT_SERVING]
    await health.set("ready", True)
    assert await said(health) == [SERVING, SERVING, NOT_SERVING]
    await health.drain()
    assert await said(health) == [NOT_SERVING] * 3
    await health.set("ready", True)
    assert await said(health) == [NOT_SERVING] * 3


async def test_a_name_that_nobody_set_has_no_answer_at_once() -> None:
    health = Health()
    await health.set("", True)
    assert health.at_once(health_pb2.HealthCheckRequest(service="n9").SerializeToString()) is None
    assert health.at_once(b"\xff") is None
