"""Updates that decide for all, as a period that is opened: who pushes one is written down, as of other operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.security.audit.decisions import scalars_of
from services.shared.security.audit.log import own_audit
from services.shared.serving.standard.auditing import Told, WrittenDown

PUSH_UPDATES: Final = "/fasttree.v1.PusherService/PushUpdates"


class PushedDecisions:
    """Those of one stream. `caller`: who pushes; `peer`: from where."""

    def __init__(self, caller: Told, peer: str) -> None:
        self._caller, self._peer = caller, peer
        #: All and only those that are written down and have no receipt yet, by update_id.
        self.waiting: dict[str, WrittenDown] = {}

    async def begin(self, updates: Sequence[types_pb2.Update]) -> None:
        """Returns once they are written down. Raises FailedPreconditionError where they can't be."""
        log = own_audit()
        if log is None:
            return
        for update in updates:
            written = WrittenDown(log, PUSH_UPDATES, self._caller, self._peer, _told(update))
            await written.begin()
            self.waiting[update.update_id] = written

    async def answered(self, receipts: Iterable[pusher_pb2.Receipt]) -> None:
        """Their receipts are about to go."""
        for receipt in receipts:
            written = self.waiting.pop(receipt.update_id, None)
            if written is not None:
                details: dict[str, Any] = {"position": receipt.position} if receipt.position else {}
                await written.end(code_pb2.Code.Name(receipt.code), "", details)

    def left(self) -> None:
        """The stream is over: whether the rest became durable the log of updates says."""
        for written in self.waiting.values():
            written.end_soon("UNKNOWN", "the stream ended before its receipt")
        self.waiting.clear()


def _told(update: types_pb2.Update) -> dict[str, Any]:
    kind = update.WhichOneof("change") or ""
    return {"change": kind, "update_id": update.update_id, **scalars_of(getattr(update, kind))}
