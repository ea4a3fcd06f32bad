"""Reads batches in several threads and hands them on in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from services.treenode.imports.reading.batch import Part


def read_in_order(jobs: Iterator[Callable[[], Part]], threads: int) -> Iterator[Part]:
    """The parts that `jobs` read, in their order. Jobs are taken in the caller's thread and only a few ahead, so memory
    stays bounded; what a job or `jobs` raises ends the reading.
    """
    waiting: deque[Future[Part]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="import") as pool:
        for job in jobs:
            waiting.append(pool.submit(job))
            # One more than there are threads keeps them all busy.
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
