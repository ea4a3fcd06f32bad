"""The stream: made, looked at, read and written. What JetStream answers is turned into what the log can do about it."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from services.pusher.log.engine.said import TriesAgain
from services.pusher.log.jetstream.connecting import AwayError, Connection, Raw
from services.pusher.log.jetstream.messages import Kind
from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.store import LogGoneError, LogStoreError, StoreFullError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

RETRY_S: Final = 0.05
#: `err_code`s of JetStream's: the stream is not there; nothing at that sequence; it is there already.
_NO_STREAM, _NO_MESSAGE, _OTHER_STREAM = 10059, 10037, 10058
#: Another sequence is the last one, or will be.
WRONG_SEQUENCE: Final = (10071, 10164, 10063)
#: There is no leader at the moment, or it is no leader any more.
NO_LEADER: Final = (10008, 10009, 10004)
#: Of one read.
_BATCH_MESSAGES, _BATCH_BYTES = 4_000, 8 << 20


class StreamInfo(NamedTuple):
    """What the stream's leader says of it.

    Attributes:
        last: Sequence of the newest message; 0 where there never was one.
        peers: Names of the servers that have a replica.
        away: Those of them that are not up to date.
    """

    first: int
    last: int
    size_bytes: int
    replicas: int
    peers: tuple[str, ...]
    away: tuple[str, ...]


class Stream:
    """One stream. Methods that say so wait for servers that are away, `nats_patience_s` at most."""

    def __init__(self, connection: Connection, settings: JetstreamSettings) -> None:
        self._connection, self._settings = connection, settings
        self.name = settings.nats_stream
        self.place = f"stream {self.name} at {connection.place}"
        #: What is told of servers that are away.
        self.tries_again = TriesAgain(logger)

    def subject(self, kind: Kind) -> str:
        """Where messages of a kind go."""
        return f"{self.name}.{_SUBJECTS.get(kind, 'state')}"

    # -- waiting

    def patiently(self, call: Callable[[], Result], patience_s: float | None = None) -> Result:
        """Tries again while servers are away. Raises StoreFullError where that takes too long."""
        ends_at_s = time.monotonic() + (self._settings.nats_patience_s if patience_s is None else patience_s)
        while True:
            try:
                result = call()
            except AwayError as error:
                if time.monotonic() + RETRY_S > ends_at_s:
                    raise StoreFullError(f"can't use {self.place}: {error}; see to the servers") from error
                self.tries_again.because(f"{self.place}: {error}")
                time.sleep(RETRY_S)
            else:
                self.tries_again.over(self.place)
                return result

    def _ask(self, what: str, question: dict[str, Any]) -> dict[str, Any]:
        """An answer, which may say an error. Raises AwayError."""
        answer = self._connection.ask(f"$JS.API.STREAM.{what}.{self.name}", question)
        if code_of(answer) in NO_LEADER:
            raise AwayError(words_of(answer), was_sent=False)
        return answer

    # -- the stream itself

    def find(self, patience_s: float | None = None) -> StreamInfo | None:
        """It, where it is there; patiently. Raises LogStoreError where it is none that a log can lie in."""
        answer = self.patiently(lambda: self._ask("INFO", {}), patience_s)
        if code_of(answer) == _NO_STREAM:
            return None
        self._refuse(answer)
        self._check(answer["config"])
        return _info_of(answer)

    def make(self) -> StreamInfo:
        """Makes it; somebody else may just do the same. Raises LogStoreError."""
        config = {
            "name": self.name,
            "subjects": [f"{self.name}.{part}" for part in ("records", "state", "spare")],
            "num_replicas": self._settings.nats_replicas,
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "allow_direct": True,
            "duplicate_window": 100_000_000,  # nanoseconds: ids are our own, and for good
        }
        answer = self.patiently(lambda: self._ask("CREATE", config))
        if code_of(answer) not in (0, _OTHER_STREAM):
            raise LogStoreError(
                f"{self.place} can't be made with {self._settings.nats_replicas} replicas: {words_of(answer)}; have as "
                "many servers, or have their administrator make it"
            )
        found = self.find()
        if found is None:
            raise LogStoreError(f"{self.place} was made, and is gone again")
        return found

    def _check(self, config: dict[str, Any]) -> None:
        """Raises LogStoreError where the stream forgets by itself, or lies in memory."""
        wanted = {
            "storage": "file", "retention": "limits", "discard": "new", "max_age": 0, "max_msgs": -1,
            "max_msgs_per_subject": -1, "allow_direct": True,
        }  # fmt: skip
        found = {name: config.get(name, value) for name, value in wanted.items()}
        wrong = [f"{name} {found[name]} (must be {value})" for name, value in wanted.items() if found[name] != value]
        if config.get("persist_mode", "default") not in ("", "default"):
            wrong.append(f"persist_mode {config['persist_mode']} (must be default)")
        if config.get("mirror") or config.get("sources"):
            wrong.append("it copies another stream")
        if wrong:
            raise LogStoreError(f"a log can't lie in {self.place}: {', '.join(wrong)}; change it, or set nats_stream")

    def info(self) -> StreamInfo:
        """It, as of now. Raises AwayError, LogGoneError."""
        answer = self._ask("INFO", {})
        self._refuse(answer)
        return _info_of(answer)

    def _refuse(self, answer: dict[str, Any]) -> None:
        code = code_of(answer)
        if code == _NO_STREAM:
            raise LogGoneError(f"{self.place} is gone: bring it back from a backup")
        if code:
            raise LogStoreError(f"{self.place}: {words_of(answer)}")

    # -- reading

    def at(self, sequence: int) -> Raw | None:
        """The message at a sequence, as the stream's leader has it; None where there is none. Raises AwayError."""
        found = self._next("", sequence)
        return found if found is not None and found.sequence == sequence else None

    def next(self, sequence: int) -> Raw | None:
        """The first message from a sequence on, as the leader has it. Raises AwayError."""
        return self._next(">", sequence)

    def _next(self, subject: str, sequence: int) -> Raw | None:
        question: dict[str, Any] = {"seq": sequence}
        if subject:
            question["next_by_subj"] = subject
        answer = self._ask("MSG.GET", question)
        if code_of(answer) == _NO_MESSAGE:
            return None
        self._refuse(answer)
        message = answer["message"]
        return Raw(int(message["seq"]), base64.b64decode(message.get("data", "")))

    def anywhere(self, sequence: int) -> Raw | None:
        """The message at a sequence, as any replica has it; None where that one has none. Raises AwayError."""
        subject = f"$JS.API.DIRECT.GET.{self.name}"
        message = self._connection.request(subject, b'{"seq":%d}' % sequence)
        headers = message.headers or {}
        if "Status" in headers or headers.get("Nats-Sequence") != str(sequence):
            return None
        return Raw(sequence, message.data)

    def records(self, sequence: int, count: int) -> list[Raw]:
        """So many messages of records from a sequence on, as any replica has them. Raises AwayError."""
        return self._connection.batch(
            f"$JS.API.DIRECT.GET.{self.name}",
            {"seq": sequence, "next_by_subj": self.subject(Kind.RECORDS), "batch": count, "max_bytes": 64 << 20},
        )

    def all(self, first: int, last: int) -> Iterator[Raw]:
        """Every message between two sequences that is there. What one replica lacks is asked of the leader.

        Raises AwayError, which may be in the middle.
        """
        sequence = first
        while sequence <= last:
            found = self._connection.batch(
                f"$JS.API.DIRECT.GET.{self.name}",
                {"seq": sequence, "batch": _BATCH_MESSAGES, "max_bytes": _BATCH_BYTES},
            )
            for raw in found:
                if raw.sequence < sequence:
                    continue
                while sequence < min(raw.sequence, last + 1):  # purged, or lost by that replica
                    lacking = self.next(sequence)
                    if lacking is None or lacking.sequence >= raw.sequence:
                        break
                    yield lacking
                    sequence = lacking.sequence + 1
                if raw.sequence > last:
                    return
                yield raw
                sequence = raw.sequence + 1
            if not found:
                rest = self.next(sequence)
                if rest is None or rest.sequence > last:
                    return
                yield rest
                sequence = rest.sequence + 1

    # -- writing

    def publish(self, after: int, messages: Sequence[tuple[Kind, bytes]]) -> list[dict[str, Any] | AwayError]:
        """Sends messages that are to follow a sequence one by one: what each came to, in their order."""
        return self._connection.publish(
            [
                (
                    self.subject(kind),
                    data,
                    {"Nats-Expected-Last-Sequence": str(after + number), "Nats-Expected-Stream": self.name},
                )
                for number, (kind, data) in enumerate(messages)
            ]
        )

    def purge(self, kind: Kind, before: int = 0) -> None:
        """Deletes messages of a kind's subject, before a sequence or all. Raises AwayError, LogStoreError."""
        question: dict[str, Any] = {"filter": self.subject(kind)}
        if before:
            question["seq"] = before
        self._refuse(self._ask("PURGE", question))

    def drop(self) -> None:
        """Asks another server from here on."""
        self._connection.drop()


_SUBJECTS: Final = {Kind.RECORDS: "records", Kind.SPARE: "spare"}


def code_of(answer: dict[str, Any]) -> int:
    """`err_code` of an answer; 0 where it is no error."""
    error = answer.get("error")
    return int(error.get("err_code") or error.get("code") or 1) if error else 0


def words_of(answer: dict[str, Any]) -> str:
    """What the error of an answer says."""
    return str(answer.get("error", {}).get("description") or "an error without words")[:300]


def _info_of(answer: dict[str, Any]) -> StreamInfo:
    state, cluster = answer["state"], answer.get("cluster") or {}
    others = cluster.get("replicas") or []
    peers = (str(cluster.get("leader", "")), *(str(peer["name"]) for peer in others))
    away = tuple(str(peer["name"]) for peer in others if peer.get("offline") or not peer.get("current"))
    return StreamInfo(
        state["first_seq"], state["last_seq"], state["bytes"], answer["config"]["num_replicas"], peers, away
    )
