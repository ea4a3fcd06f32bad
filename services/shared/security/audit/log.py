"""The audit log of a process: whoever has something to say leaves it here, and one thread writes.

An operation waits until its record is on the disk; a refusal waits for nothing. Any thread may call.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.shared.domain.sentences import plain, system_words
from services.shared.security.audit.chain import ChainFile
from services.shared.security.audit.files import CHAINS, OPERATIONS, REFUSALS
from services.shared.security.audit.floods import FloodControl
from services.shared.security.audit.records import Entry, Kind
from services.shared.security.audit.settings import AuditSettings
from services.shared.security.own import own_policy

logger = logging.getLogger(__name__)

#: How often files that can't be written are tried again, in seconds, while nobody asks.
_AGAIN_S: Final = 5.0
#: Records that wait for the disk; beyond, operations are refused and refusals are counted only.
_WAITING_MAX: Final = 10_000
#: Of one write.
_TOGETHER_MAX: Final = 100


class _Waiting(NamedTuple):
    chain: str
    entry: Entry
    #: None: nobody waits for it.
    written: Future[None] | None


class AuditLog:
    """Begins at once; `close` at the end.

    Args:
        folder: Where it is; it is made where it is not there.
        service: Such as "pusher".
    """

    def __init__(
        self, settings: AuditSettings, folder: Path, service: str, now_s: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self._now_s = now_s
        self._chains = {
            chain: ChainFile(folder, chain, service, settings.file_bytes_max, settings.files_kept) for chain in CHAINS
        }
        self._floods = FloodControl(settings.refusals_in_full, settings.summary_s)
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._ending = False
        #: Why a chain can't be written now; a chain that can be has none.
        self._problems: dict[str, str] = {}
        #: Since the start: records written, and refusals that came, whether written or counted.
        self.written = self.refusals = 0
        self._open_all(make=True)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why operations are refused, in one line; empty while they are not."""
        return self._problems.get(OPERATIONS, "")

    @property
    def any_problem(self) -> str:
        """The same, also where it is refusals alone that nobody can write down."""
        return "; ".join(dict.fromkeys(self._problems.values()))

    def write(self, entry: Entry) -> Future[None]:
        """Of an operation. The future ends once it is on the disk, or by an OSError that says why it is not."""
        written: Future[None] = Future()
        written.set_running_or_notify_cancel()  # nobody can take it back
        with self._changed:
            if self._ending or len(self._waiting) >= _WAITING_MAX:
                why = "the audit log is closed" if self._ending else "too many records wait for the audit log's disk"
                written.set_exception(OSError(why))
            else:
                self._waiting.append(_Waiting(OPERATIONS, entry, written))
                self._changed.notify()
        return written

    def refused(self, entry: Entry) -> None:
        """A refusal: written down, or counted."""
        with self._changed:
            self.refusals += 1
            for each in self._floods.take(entry, self._now_s()):
                if len(self._waiting) < _WAITING_MAX:
                    self._waiting.append(_Waiting(REFUSALS, each, None))
            self._changed.notify()

    def entry(self, kind: str, path: str = "", **told: Any) -> Entry:
        """One of now."""
        return Entry(kind, self._now_s(), path)._replace(**told)

    def new_call(self) -> str:
        """A name that an operation's two records have in common."""
        return secrets.token_hex(8)

    def close(self) -> None:
        """Writes what waits, and ends."""
        with self._changed:
            self._ending = True
            self._waiting += [_Waiting(REFUSALS, entry, None) for entry in self._floods.flush()]
            self._changed.notify()
        self._thread.join()

    # The thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._ending):
                    if not self._changed.wait(self._patience_s()):
                        break
                self._waiting += [_Waiting(REFUSALS, entry, None) for entry in self._floods.tick(self._now_s())]
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _TOGETHER_MAX))]
                ends = self._ending and not batch
            if ends:
                break
            if not batch and self._problems:
                self._open_all(make=False)
            for chain in CHAINS:
                self._write(chain, [each for each in batch if each.chain == chain])
        for file in self._chains.values():
            file.close()

    def _patience_s(self) -> float | None:
        waits = [self._floods.deadline_s - self._now_s()] if self._floods.deadline_s is not None else []
        waits += [_AGAIN_S] if self._problems else []
        return max(0.01, min(waits)) if waits else None

    def _open_all(self, *, make: bool) -> None:
        for chain in CHAINS:
            try:
                if make:
                    os.makedirs(self.folder, 0o700, exist_ok=True)
                if not self._chains[chain].is_open:
                    self._chains[chain].open(self._now_s())
            except OSError as error:
                self._failed(chain, error)
            else:
                self._problems.pop(chain, None)

    def _write(self, chain: str, batch: list[_Waiting]) -> None:
        if not batch:
            return
        file, now_s = self._chains[chain], self._now_s()
        try:
            if not file.is_open:
                file.open(now_s)
            file.append([each.entry for each in batch], now_s)
        except Exception as error:
            self._failed(chain, error)
            for each in batch:
                if each.written is not None:
                    each.written.set_exception(OSError(self._problems[chain]))
            return
        self.written += len(batch)
        if self._problems.pop(chain, None):
            logger.info("audit: the %s are written again", chain)
            self._open_all(make=False)
        for each in batch:
            if each.written is not None:
                each.written.set_result(None)

    def _failed(self, chain: str, error: Exception) -> None:
        why = plain(system_words(error))
        if chain not in self._problems:
            stopped = "operators' calls are refused" if chain == OPERATIONS else "refusals are counted alone"
            logger.error("audit: %s can't be written, so %s: %s", chain, stopped, why)
        self._problems[chain] = why


class _Process:
    log: AuditLog | None = None


def begin_audit(settings: AuditSettings, service: str, state_folder: Path, name: str = "") -> AuditLog:
    """From now on this process writes down what is done. `state_folder`: of the service; `name`: its own one among
    several that have that folder in common, each with a chain of its own."""
    end_audit()
    folder = (Path(settings.folder).absolute() if settings.folder else state_folder / "audit") / name
    _Process.log = log = AuditLog(settings, folder, service)
    if (policy := own_policy()) is not None:
        note_change(Kind.POLICY, "OK", policy=policy.content.name, details={"sha256": policy.digest})
    return log


def own_audit() -> AuditLog | None:
    """None: this process writes nothing down."""
    return _Process.log


def audit_problem() -> str:
    """Why this process's audit log can't be written, and what comes of it, in one line; empty where it is written."""
    log = own_audit()
    if log is None or not log.any_problem:
        return ""
    if log.problem:
        return f"operators' calls to it are refused: {log.problem}"
    return f"refusals are counted alone: {log.any_problem}"


def note_change(kind: str, status: str, reason: str = "", **told: Any) -> None:
    """What a process has found changed, and goes by from now on, or can't: nobody waits for the record."""
    if (log := own_audit()) is not None:
        log.write(log.entry(kind, status=status, reason=reason, **told))


def end_audit() -> None:
    """Writes what waits."""
    if _Process.log is not None:
        _Process.log.close()
        _Process.log = None
