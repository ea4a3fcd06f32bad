"""What one node's reports may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from services.treenode.settings import TreeNodeSettings

_SET = TreeNodeSettings()

#: The largest request that is of use: 10,000 ids or texts in a list, as far as those go.
REQUEST_BYTES_MAX = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ReportLimits:
    """Bounds on time and memory, those that a node can be set to among them: their defaults are the settings'."""

    #: Streams (StreamDownline) at the same time; one more is refused with RESOURCE_EXHAUSTED. Each keeps a copy of the
    #: rows that it streams, about 60 bytes a member with the default columns, until its client has them.
    streams_max: int = _SET.report_streams_max
    #: A stream whose client takes nothing for so long is ended and its copy freed, in seconds.
    stream_stall_s_max: float = _SET.report_stream_stall_s_max
    #: Copies of more than `loop_copy_rows_max` rows, of all calls together, in bytes; a call that finds no room waits,
    #: one more than `copies_waiting_max` is refused with RESOURCE_EXHAUSTED. One copy is always allowed.
    copy_bytes_max: int = _SET.report_copy_bytes_max
    copies_waiting_max: int = _SET.report_copies_waiting_max
    #: Threads that encode rows for streams and sort pages, besides the gate's own copying threads.
    threads: int = _SET.report_threads
    #: A summary or search over so many members, at most, runs on the event loop, where it costs less than a thread's
    #: hop and a turn in the gate: about a millisecond.
    loop_sum_rows_max: int = 150_000
    #: The same for copying, filtering and sorting members, and for encoding them.
    loop_copy_rows_max: int = 10_000
    loop_encode_rows_max: int = 2_500
    #: Longest wait for min_position when the call has no deadline of its own, in seconds.
    position_wait_s_max: float = _SET.report_position_wait_s_max
    #: Size of a stream's messages, in bytes; the last row may go over it.
    message_bytes: int = _SET.report_message_bytes
    #: Rows in an Arrow record batch, at most.
    batch_rows_max: int = 65_536

    @classmethod
    def of(cls, settings: TreeNodeSettings) -> Self:
        """Those of a node that is set so."""
        return cls(
            streams_max=settings.report_streams_max,
            stream_stall_s_max=settings.report_stream_stall_s_max,
            copy_bytes_max=settings.report_copy_bytes_max,
            copies_waiting_max=settings.report_copies_waiting_max,
            threads=settings.report_threads,
            message_bytes=settings.report_message_bytes,
            position_wait_s_max=settings.report_position_wait_s_max,
        )
