"""One transaction after another, each under the fence, and what became of each made sure of. For the writer's thread.

How a write is made sure of
---------------------------
1. A transaction begins by locking the fence's row, and compares in it the claim and the end of the log. So writes take
   turns, whatever processes they come from, and nobody else's comes between the comparison and the commit.
2. It ends by counting itself in that row, in the same round trip as the commit.
3. Where the answer to a commit is lost, nobody knows whether it happened. It is looked up: the row is locked again
   (which waits for a session that is still committing), and the count tells. The look-up writes the row itself: when
   its own commit is confirmed, what it saw is where that is, on every standby that commits wait for.
4. A commit that came back with a warning counts as one without an answer: PostgreSQL says so where somebody, or a
   time-out, ended the wait for the standbys.
5. Until it is known, nothing else is written; where it can't be found out in time, the caller is told just that.
6. A claim does not wait for a session that holds the row and whose client says nothing: it ends it. That client is to
   be deposed in any case, and its machine may be gone; in the middle of a COPY no limit of PostgreSQL's own ends it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from services.pusher.log.engine.said import TriesAgain
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.postgresql.connecting import Connecting
from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.postgresql.watchdog import Watchdog
from services.pusher.log.store import (
    DeposedError,
    LogDamagedError,
    LogEnds,
    LogStoreError,
    OutcomeUnknownError,
    StoreFullError,
)
from services.shared.postgresql.connecting import IDLE_TOO_LONG, Connection, in_words

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_RETRY_S: Final = 0.05
#: A claim looks after so long, in seconds, who holds the row; and whoever has been silent for so long is ended.
_HELD_S: Final = 0.3


class Row(NamedTuple):
    """The fence's row."""

    epoch: int
    holder: str
    claims: int
    first: int
    last: int
    writes: int

    @property
    def fence(self) -> Fence:
        return Fence(self.epoch, self.holder, self.claims)

    @property
    def ends(self) -> LogEnds:
        return LogEnds(self.first, self.last)


class NotConfirmedError(psycopg.OperationalError):
    """The answer to a commit is missing, or says that it is not where it should be: it may be there or not."""


class Transaction:
    """What a write has while it holds the fence's row.

    Attributes:
        row: As it was found.
        ends, epoch, holder: What it is to say when this is committed.
    """

    def __init__(self, connection: Connection, row: Row) -> None:
        self.connection = connection
        self.row = row
        self.ends = row.ends
        self.epoch, self.holder = row.epoch, row.holder


class Writer:
    """The connection that writes."""

    def __init__(self, connecting: Connecting, settings: PostgresqlSettings) -> None:
        self._connecting, self._settings = connecting, settings
        self._connection: Connection | None = None
        # A little more than the server's own limit, which says more.
        self._watchdog = Watchdog(settings.log_statement_timeout_s + 0.5)
        self._warning = ""
        self._tries_again = TriesAgain(logger)
        self._unsettled: Row | None = None
        #: What this process claimed; None until it has, and where it is known to be deposed.
        self.held: Fence | None = None
        #: The ends as of this process's last write.
        self.ends = LogEnds(1, 0)
        fence = f'"{settings.log_schema}".fence'
        self._select = f"SELECT epoch, holder, claims, first, last, writes FROM {fence}"
        self._update = f"UPDATE {fence} SET "
        limits = {
            "synchronous_commit": settings.log_synchronous_commit,
            "statement_timeout": round(settings.log_statement_timeout_s * 1000),
            "idle_in_transaction_session_timeout": round(settings.log_idle_in_transaction_s * 1000),
        }
        self._begin = "BEGIN; " + "".join(f"SET LOCAL {name} = '{value}'; " for name, value in limits.items())
        # Those that hold the row, and wait for their client's next word.
        self._end_silent = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            f"WHERE relation = '{fence}'::regclass AND granted AND wait_event_type = 'Client' "
            f"AND state_change < clock_timestamp() - interval '{_HELD_S} s' AND pid <> pg_backend_pid()"
        )

    @property
    def waits_for(self) -> str:
        """Why the server is tried again at the moment; empty where it is not."""
        return self._tries_again.waits_for

    # -- the connection

    def connection(self) -> Connection:
        """The connection, outside of any transaction. Raises psycopg.Error where there is none to be had."""
        found = self._connection
        if found is not None and (found.closed or found.info.transaction_status != TransactionStatus.IDLE):
            self.drop()
            found = None
        if found is None:
            found = self._connection = self._connecting.connect()
            found.add_notice_handler(self._noticed)
        return found

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "a warning"

    def drop(self) -> None:
        """Ends the connection; the next write opens another one."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def read(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Rows, in a transaction of their own. Raises LogStoreError."""
        return self.patiently(lambda: self.connection().execute(statement, values).fetchall())

    def row(self) -> Row:
        """The fence's row, as it is now. Raises LogStoreError."""
        return Row(*self.read(self._select)[0])

    # -- writes

    def claim(self, epoch: int, holder: str, look: Callable[[Connection], None]) -> Fence:
        """Claims the log. `look`: reads what others have stored. Raises as `LogStore.claim`."""

        def claim() -> Fence:
            connection = self.connection()
            row = self._lock_for_claim(connection)
            fence = row.fence.claimed(epoch, holder)
            look(connection)
            self._finish(connection, row._replace(epoch=epoch, holder=holder, claims=fence.claims))
            self.held, self.ends = fence, row.ends
            return fence

        # Where the answer is lost, it counts, or not: claiming again is sure either way.
        return self.patiently(lambda: self._cleanly(claim))

    def write(self, body: Callable[[Transaction], Result]) -> Result:
        """One transaction: all that `body` writes, or nothing, and nothing but under the newest claim. It may be run
        again, where the connection was lost before its commit.

        Raises:
            DeposedError, StoreFullError, LogDamagedError: Nothing was stored.
            OutcomeUnknownError: Nobody knows whether it was. The claim is given up: what this process knows of the log
                may be wrong.
            psycopg.errors.UniqueViolation: Nothing was stored.
        """
        ends_at_s = time.monotonic() + self._settings.log_patience_s
        results: list[Result] = []
        while True:
            unsettled = self.patiently(lambda: self._try(body, results), ends_at_s)
            if unsettled is None or self._was_stored(unsettled, ends_at_s):
                return results[-1]

    def _try(self, body: Callable[[Transaction], Result], results: list[Result]) -> Row | None:
        """Writes; `results` gets what `body` returned. Returns what the row holds if it was stored, where nobody knows
        whether it was."""
        try:
            return self._cleanly(lambda: self._write(body, results))
        except NotConfirmedError as error:
            logger.warning("a commit at %s has no good answer: %s", self._connecting.place, in_words(error))
            return self._unsettled

    def _write(self, body: Callable[[Transaction], Result], results: list[Result]) -> None:
        connection = self.connection()
        row = self._lock(connection)
        self._check(row)
        transaction = Transaction(connection, row)
        results.append(body(transaction))
        first, last = transaction.ends
        after = row._replace(first=first, last=last, epoch=transaction.epoch, holder=transaction.holder)
        self._finish(connection, after)
        self.ends = after.ends

    def _check(self, row: Row) -> None:
        """Raises DeposedError where this process may not write, and LogDamagedError where the log's end was lost."""
        try:
            row.fence.check(self.held)
        except DeposedError:
            self.held = None
            raise
        if row.ends != self.ends:
            raise LogDamagedError(
                f"the log at {self._connecting.place} ends at position {row.last}, but {self.ends.last} was "
                "acknowledged: the server has lost its end; promote a standby that has it"
            )

    def check_claim(self) -> None:
        """Raises DeposedError where this process may not write."""
        self._check(self.row())

    def _lock_for_claim(self, connection: Connection) -> Row:
        """As `_lock`; ends whoever holds the row in silence (rule 6)."""
        try:
            return self._lock(connection, f"SET LOCAL lock_timeout = '{_HELD_S} s'; ")
        except psycopg.errors.LockNotAvailable:
            connection.execute("ROLLBACK")
        try:
            ended = connection.execute(self._end_silent).fetchall()
        except psycopg.errors.InsufficientPrivilege:  # another role's
            ended = []
        if ended:
            logger.warning("ended a session at %s that held the log in silence", self._connecting.place)
        return self._lock(connection)

    def _lock(self, connection: Connection, limit: str = "") -> Row:
        """Begins a transaction, with the fence's row locked."""
        with self._watchdog.watch(connection):
            cursor = connection.execute(self._begin + limit + self._select + " FOR UPDATE")
        while cursor.nextset():
            pass
        found = cursor.fetchone()
        if found is None:
            raise LogDamagedError(f"the log at {self._connecting.place} has lost its fence; bring back a whole copy")
        return Row(*found)

    def _finish(self, connection: Connection, after: Row) -> None:
        """Commits, with the row as it is then."""
        values = f"epoch = {after.epoch}, claims = {after.claims}, first = {after.first}, last = {after.last}"
        holder = after.holder.replace("'", "''")
        counted = after._replace(writes=after.writes + 1)
        self._warning = ""
        self._tries_again = TriesAgain(logger)
        try:
            with self._watchdog.watch(connection):
                connection.execute(f"{self._update}{values}, holder = '{holder}', writes = {counted.writes}; COMMIT")
        except psycopg.Error as error:
            if connection.closed and error.sqlstate != IDLE_TOO_LONG:
                self._unsettled = counted
                raise NotConfirmedError(in_words(error)) from error
            raise  # the server says that it was not done
        if self._warning:
            self._unsettled = counted
            raise NotConfirmedError(self._warning)

    # -- what a lost answer leaves

    def _was_stored(self, after: Row, ends_at_s: float) -> bool:
        """Finds out what became of a commit without an answer. `after`: the row where it happened."""
        try:
            stored = self.patiently(lambda: self._cleanly(lambda: self._look_up(after)), ends_at_s)
        except LogStoreError as error:
            epoch = error.epoch if isinstance(error, DeposedError) else after.epoch
            self.held = None
            raise OutcomeUnknownError(epoch, f"whether the last update was stored is not known: {error}") from error
        logger.warning("that commit was %s", "stored" if stored else "not stored")
        return stored

    def _look_up(self, after: Row) -> bool:
        connection = self.connection()
        row = self._lock(connection)
        if row.claims != after.claims:
            raise DeposedError(row.epoch)
        if row.writes not in (after.writes - 1, after.writes):
            raise LogDamagedError(
                f"the log at {self._connecting.place} has lost writes; promote a standby that has them"
            )
        self._finish(connection, row._replace(writes=row.writes - 1))  # the count stays as it is
        self.ends = row.ends
        return row.writes == after.writes

    # -- patience

    def _cleanly(self, call: Callable[[], Result]) -> Result:
        """A call that may leave a transaction open when it fails: nothing of that stays."""
        try:
            return call()
        except BaseException:
            connection = self._connection
            if connection is not None and not connection.closed:
                try:
                    if connection.info.transaction_status != TransactionStatus.IDLE:
                        connection.execute("ROLLBACK")
                except psycopg.Error:
                    self.drop()
            raise

    def patiently(self, call: Callable[[], Result], ends_at_s: float | None = None) -> Result:
        """Tries again while the server is away. Raises LogStoreError."""
        ends_at_s = ends_at_s or time.monotonic() + self._settings.log_patience_s
        while True:
            try:
                result = call()
            except psycopg.errors.UniqueViolation:
                raise
            except psycopg.Error as error:
                told = self._connecting.error_of(error)
                if not isinstance(told, StoreFullError) or time.monotonic() + _RETRY_S > ends_at_s:
                    raise told from error
                self._tries_again.because(str(told))
                self.drop()
                time.sleep(_RETRY_S)
            else:
                self._tries_again.over(self._connecting.place)
                return result

    def close(self) -> None:
        """Ends the connection."""
        self.drop()
        self._watchdog.close()
