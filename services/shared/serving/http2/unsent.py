"""Answers that wait for their client: bounded for one connection, and for all of a server together; whether it has read
them in the end."""

from __future__ import annotations

from ngh2 import Connection

from services.shared.serving.http2.limits import Budget, Limits


class Unsent:
    """What of one connection's answers its client has not taken.

    As long as there is room in all, that may be `unsent_max`. Where there is none, a connection for which more than
    `unsent_alone_max` wait has no further calls served, and is given up once its client has taken nothing for
    `unread_s`: those who take their answers do not pay for those who don't.
    """

    def __init__(self, h2: Connection, limits: Limits, budget: Budget, now_s: float) -> None:
        self._h2 = h2
        self._limits = limits
        self._budget = budget
        self._size = 0
        self._taken_s = now_s

    def data_to_send(self, now_s: float) -> bytes:
        """What the client's windows let go now. Raises NGH2Error."""
        waiting = self._h2.queued_body_size()
        if not waiting and not self._size:
            return self._h2.data_to_send()
        data = self._h2.data_to_send()
        self._note()
        if self._size < waiting or not waiting:
            self._taken_s = now_s
        return data

    def _note(self) -> None:
        size = self._h2.queued_body_size()
        self._budget.unsent += size - self._size
        self._size = size

    def is_too_much(self) -> bool:
        """Whether no further call is to be served until the client takes some."""
        self._note()
        return self._size > self._limits.unsent_max or self._is_over()

    def is_given_up(self, now_s: float) -> bool:
        """Whether it stands in the way of others, and nobody takes it."""
        return self._is_over() and now_s - self._taken_s > self._limits.unread_s

    def _is_over(self) -> bool:
        return self._size > self._limits.unsent_alone_max and self._budget.unsent > self._limits.unsent_in_all_max

    def release(self) -> None:
        """The connection is lost."""
        self._budget.unsent -= self._size
        self._size = 0


class Farewell:
    """A ping behind the last answer: who answers it has read what came before."""

    def __init__(self) -> None:
        #: Nothing was said since it was sent.
        self.is_asked = False
        #: The client has read all that it was ever told, and waits for nothing.
        self.is_heard = False
        self._count = 0

    def ask(self) -> bytes:
        """What the ping says, another thing each time."""
        self.is_asked = True
        self._count += 1
        return self._said

    def hears(self, ping: bytes) -> bool:
        """Whether that is the answer; one to an earlier ping is not, if more was said since."""
        self.is_heard = self.is_asked and ping == self._said
        return self.is_heard

    @property
    def _said(self) -> bytes:
        return b"bye%05d" % (self._count % 100_000)
