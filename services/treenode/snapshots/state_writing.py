"""A state on its way to its file: written by a forked child, and where this process has keys, sealed on the way.

The child knows no cipher. It writes into a pipe then, and a thread seals what comes: no byte of it is on a disk in
clear, and there is never a second copy of the state in memory.
"""

from __future__ import annotations

import asyncio
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

#: What waits in the pipe: fewer changes between the two.
_PIPE_BYTES = 1 << 20


class StateWriting:
    """One write under way: begun in the constructor, which returns at once; await `finished` soon after."""

    def __init__(
        self, descriptor: int, name: str, layout: StateLayout, label: Mapping[str, Any], meta: Mapping[str, Any]
    ) -> None:
        """Writes the arrays of the layout as they are now. `name`: of the file, once it is whole.

        Raises:
            BackgroundWriteError: No process could be made.
        """
        self._descriptor, self._name = descriptor, name
        self._layout, self._label, self._meta = layout, label, meta
        self._key = key_to_seal()
        self._pipe = -1
        if self._key is None:
            self._child = BackgroundWrite(descriptor, layout.pieces)
            return
        self._pipe, into = os.pipe()
        try:
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._child = BackgroundWrite(into, [(piece, -1) for piece, _ in layout.pieces])
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(into)  # the child's end is the only one: the pipe ends with the child

    async def finished(self, timeout_s: float) -> int:
        """Returns the file's size once all of it is on disk; the child is gone then.

        Raises:
            OSError: The disk, the child was killed, or it took longer than `timeout_s` and was ended.
        """
        if self._key is None:
            await self._child.finished(timeout_s)
            return await in_thread(self._layout.finish, self._descriptor, self._label, self._meta, durable=True)
        sealing = asyncio.ensure_future(in_thread(self._seal, self._key))
        child_goes_on = True

        def look(ended: asyncio.Future[int]) -> None:
            if child_goes_on and ended.exception() is not None:
                self._child.end()  # nobody takes any more of it

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

    def _seal(self, key: Key) -> int:
        # Loaded where there are keys.
        from services.shared.files.sealed.writing import SealedWriter

        try:
            writer = SealedWriter.new(self._descriptor, key, state_name(self._name), first_last=True)
            size_bytes = self._layout.seal(self._pipe, writer, self._label, self._meta)
            os.fsync(self._descriptor)
            return size_bytes
        finally:
            os.close(self._pipe)
