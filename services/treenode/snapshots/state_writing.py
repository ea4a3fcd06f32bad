"""A state on its way to its file: written by a forked child, and where this process has keys, sealed on the way.

The child knows no cipher. It writes into a pipe then, and a thread seals what comes: no byte of it is on a disk in
clear, and there is never a second copy of the state in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.shared.files.sealed.names import state_name
from services.shared.files.sealed.own import key_to_seal
from services.shared.files.threads import in_thread
from services.treenode.snapshots.background_write import BackgroundWrite
from services.treenode.snapshots.state_file import StateLayout

if TYPE_CHECKING:
    from services.shared.files.sealed.keys import Key
    from services.treenode.snapshots.background_send import BackgroundSend

#: What waits in the pipe: fewer changes between the two.
_PIPE_BYTES = 1 << 20
#: The disk takes so much before more is written, as in `background_write.py`: it may be a pusher's too.
_SYNC_BYTES = 16 << 20


class StateWriting:
    """One write under way: begun in the constructor, which returns at once; await `finished` soon after."""

    def __init__(
        self, descriptor: int, name: str, layout: StateLayout, label: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> None:
        """Writes the arrays of the layout as they are now. `name`: of the file, once it is whole.

        Raises:
            BackgroundWriteError: No process could be made.
        """
        self._descriptor, self._layout, self._label, self._meta = descriptor, layout, label, meta
        key = key_to_seal()
        self._sealing = _Sealing(descriptor, name, layout, key) if key is not None else None
        self._child = BackgroundWrite(descriptor, layout.pieces) if key is None else None

    async def finished(self, timeout_s: float) -> int:
        """Returns the file's size once all of it is on disk; the child is gone then.

        Raises:
            OSError: The disk, the child was killed, or it took longer than `timeout_s` and was ended.
        """
        if self._sealing is not None:
            return await self._sealing.finished(self._label, self._meta, timeout_s)
        assert self._child is not None
        await self._child.finished(timeout_s)
        return await in_thread(self._layout.finish, self._descriptor, self._label, self._meta, durable=True)


class _Sealing:
    """A child that sends, and the thread that seals what it sends."""

    def __init__(self, descriptor: int, name: str, layout: StateLayout, key: Key) -> None:
        # Loaded where there are keys.
        from services.treenode.snapshots.background_send import BackgroundSend

        self._descriptor, self._name, self._layout, self._key = descriptor, name, layout, key
        self._pipe, into = os.pipe()
        try:
            with contextlib.suppress(OSError):  # a user who has many has smaller ones
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._child: BackgroundSend = BackgroundSend(into, [piece for piece, _ in layout.pieces])
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(into)  # the child's end is the only one: the pipe ends with the child

    async def finished(self, label: Mapping[str, Any], meta: Mapping[str, Any], timeout_s: float) -> int:
        sealing = asyncio.ensure_future(in_thread(self._seal, label, meta))
        child_goes_on = True

        def look(ended: asyncio.Future[int]) -> None:
            failed = ended.cancelled() or ended.exception() is not None
            if failed and child_goes_on:
                self._child.end()

        sealing.add_done_callback(look)
        try:
            await self._child.finished(timeout_s)
        except OSError:
            child_goes_on = False
            await asyncio.wait({sealing})
            if isinstance(error := sealing.exception(), OSError) and error.errno:
                raise error from None  # the child was ended for it
            raise
        finally:
            child_goes_on = False
            await asyncio.wait({sealing})  # the pipe has ended with the child, so that the thread does
        return sealing.result()

    def _seal(self, label: Mapping[str, Any], meta: Mapping[str, Any]) -> int:
        from services.shared.files.sealed.writing import SealedWriter

        try:
            writer = SealedWriter.new(
                self._descriptor, self._key, state_name(self._name), first_last=True, sync_bytes=_SYNC_BYTES
            )
            size_bytes = self._layout.seal(self._pipe, writer, label, meta)
            os.fsync(self._descriptor)
            return size_bytes
        finally:
            os.close(self._pipe)
