"""grpc.health.v1, with the commonest question answered by bytes that are there already: load balancers ask many times a
second, of nodes that have nothing else to do too."""

from __future__ import annotations

from grpc_health.v1 import health, health_pb2

HEALTH = health.SERVICE_NAME
CHECK = f"/{HEALTH}/Check"
_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What a server says of itself, by name."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._draining = False
        #: What is answered to a `Check`, by its request; both as bytes.
        self._answers: dict[bytes, bytes] = {}

    async def set(self, name: str, serving: bool) -> None:
        """Sets what is answered, and tells who watches. Does nothing after `drain`."""
        if not self._draining:
            asked = health_pb2.HealthCheckRequest(service=name).SerializeToString()
            self._answers[asked] = _answer(serving)
            await self.servicer.set(name, _SERVING if serving else _NOT_SERVING)

    async def drain(self) -> None:
        """Nothing serves any more."""
        self._draining = True
        for request in self._answers:
            self._answers[request] = _answer(serving=False)
        await self.servicer.enter_graceful_shutdown()

    def at_once(self, request: bytes) -> bytes | None:
        """The answer to a `Check`; None where the name is none of those that were set."""
        return self._answers.get(request)


def _answer(serving: bool) -> bytes:
    encoded: bytes = health_pb2.HealthCheckResponse(status=_SERVING if serving else _NOT_SERVING).SerializeToString()
    return encoded
