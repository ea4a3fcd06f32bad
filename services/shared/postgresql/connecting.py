"""Connections to a PostgreSQL server, or to whichever of several takes writes, and what their errors mean."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from services.shared.config.text_file import read_text_file

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
AsyncConnection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

#: What libpq does unless the URL says otherwise: a server that vanished is noticed in seconds, not in hours. Of several
#: hosts, the one that takes writes is taken, so a promoted standby is found.
_DEFAULTS = {
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
    "target_session_attrs": "read-write",
}
#: libpq waits no less, in seconds.
_CONNECT_TIMEOUT_MIN_S = 2
_PASSWORD_BYTES_MAX = 4_096
#: Of classes of SQLSTATE: the server ends, starts or lacks something; or it is no primary (any more).
_MAY_WORK_LATER = ("08", "53", "57", "58", "40", "55")
_DAMAGED = ("XX001", "XX002")
_FORBIDDEN = "42501"
_READ_ONLY = "25006"
#: The server ended a transaction in which nothing came: it did not happen.
IDLE_TOO_LONG = "25P03"


class ServerUnusableError(Exception):
    """The settings lead to no server: one line that names the setting and the mend, and never a password."""


class Meaning(Enum):
    """What an error of a server is to its client."""

    #: What it keeps is not whole.
    DAMAGED = "damaged"
    #: The role lacks a right.
    FORBIDDEN = "forbidden"
    #: It is away, ends, starts, lacks room, or is no primary any more.
    LATER = "later"
    OTHER = "other"


class Server:
    """Where a server is, or several of which one takes writes.

    Args:
        url: As libpq takes it.
        setting, password_setting: What the user calls `url` and `password_file`.
        password_file: Its first line is the password, read at each connection; empty: there is none.
        connect_timeout_s: How long an attempt to connect may take, at each of the servers.
        application: How the server names this client to people who look.

    Raises:
        ServerUnusableError: The URL can be none.
    """

    def __init__(
        self,
        url: str,
        *,
        setting: str,
        password_file: str,
        password_setting: str,
        connect_timeout_s: float,
        application: str,
    ) -> None:
        self._password_file, self._password_setting, why = password_file, password_setting, ""
        try:
            given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
        except psycopg.Error as error:
            given, why = {}, _why_none(url, error)
        if not given.get("host") and not given.get("service"):
            raise ServerUnusableError(
                f"{setting} must name a server, such as postgresql://fasttree@db1,db2/company?sslmode=verify-full{why}"
            )
        if given.get("password"):
            raise ServerUnusableError(f"{setting} holds a password: name a file of it in {password_setting}")
        if not given.get("dbname") and not given.get("service"):  # libpq would take one that has the role's name
            raise ServerUnusableError(
                f"{setting} names no database: write postgresql://ROLE@HOST/DATABASE, as in "
                "postgresql://fasttree@db1,db2/company"
            )
        timeout_s = max(_CONNECT_TIMEOUT_MIN_S, round(connect_timeout_s))
        ours = {"connect_timeout": str(timeout_s), "application_name": application}
        self._options: dict[str, str] = {**ours, **_DEFAULTS, **given}
        self.place = f"{given.get('host') or 'service ' + given['service']}/{given.get('dbname', '')}"

    @property
    def password_from(self) -> str:
        """Where the password comes from now, in words; what comes first here goes before the others."""
        if self._password_file:
            return f"from {self._password_setting}"
        unset = f"{self._password_setting} is empty"
        if os.environ.get("PGPASSWORD"):
            return f"from PGPASSWORD of the environment, as {unset}"
        passfile = Path(self._options.get("passfile") or os.environ.get("PGPASSFILE") or "~/.pgpass").expanduser()
        return f"from {passfile}, as {unset}" if passfile.exists() else f"none is given: {unset}, and so is PGPASSWORD"

    def connect(self) -> Connection:
        """One connection, each of whose statements is a transaction unless one is begun. Nothing is prepared: a pooler
        would give the next statement to a session that knows nothing of it.

        Raises:
            psycopg.Error: The server.
            ServerUnusableError: The password's file can't be read.
        """
        options: dict[str, Any] = {**self._options, **self._password()}
        return psycopg.connect(make_conninfo(**options), autocommit=True, prepare_threshold=None)

    async def connect_soon(self) -> AsyncConnection:
        """The same for an event loop, at whichever server takes writes: all are asked at once, so one that is gone
        with its machine, and answers nothing, holds up nobody. Statements get their values before they are sent.

        Raises:
            psycopg.Error: None of them does.
            ServerUnusableError: The password's file can't be read.
        """
        password = self._password()
        attempts = [asyncio.ensure_future(_attempt({**each, **password})) for each in each_server(self._options)]
        chosen: AsyncConnection | None = None
        problems: list[psycopg.Error] = []
        try:
            for attempt in asyncio.as_completed(attempts):
                try:
                    chosen = await attempt
                    return chosen
                except psycopg.Error as error:
                    problems.append(error)
        finally:
            for each in attempts:
                each.cancel()
            for made in await asyncio.gather(*attempts, return_exceptions=True):
                if isinstance(made, psycopg.AsyncConnection) and made is not chosen:
                    await made.close()
        raise psycopg.OperationalError("; ".join(dict.fromkeys(map(in_words, problems))))

    def _password(self) -> dict[str, str]:
        if not self._password_file:
            return {}
        try:
            lines = read_text_file(Path(self._password_file), _PASSWORD_BYTES_MAX).splitlines()
        except OSError as error:
            why = f"the password's file {self._password_file} can't be read: {error}"
            raise ServerUnusableError(why) from None
        return {"password": lines[0]} if lines and lines[0] else {}


def _why_none(url: str, error: psycopg.Error) -> str:
    """What libpq says of an address, behind ours; nothing where it may repeat what is secret."""
    user = url.partition("://")[2].rpartition("@")[0]
    if ":" in user or "password" in url.lower():
        return ""
    return f": {in_words(error)}"


async def _attempt(options: Mapping[str, Any]) -> AsyncConnection:
    return await psycopg.AsyncConnection.connect(
        make_conninfo(**options), autocommit=True, prepare_threshold=None, cursor_factory=psycopg.AsyncClientCursor
    )


def each_server(options: Mapping[str, str]) -> list[dict[str, str]]:
    """The options of each of the hosts that they name; as they are, where they don't fit together (libpq says why)."""
    lists = {name: options[name].split(",") for name in ("host", "hostaddr", "port") if options.get(name)}
    hosts = max((len(lists[name]) for name in ("host", "hostaddr") if name in lists), default=1)
    lists = {name: each * hosts if name == "port" and len(each) == 1 else each for name, each in lists.items()}
    if any(len(each) != hosts for each in lists.values()):
        return [dict(options)]
    return [{**options, **{name: each[index] for name, each in lists.items()}} for index in range(hosts)]


def cut(connection: Connection | AsyncConnection) -> None:
    """Ends a connection under whoever waits for its server, who then has psycopg.OperationalError, and closes it."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=connection.fileno()) as end:
        try:
            end.shutdown(socket.SHUT_RDWR)
        finally:
            end.detach()


def meaning_of(error: psycopg.Error) -> Meaning:
    """What to make of it."""
    state = error.sqlstate or ""
    if state in _DAMAGED:
        return Meaning.DAMAGED
    if state == _FORBIDDEN:
        return Meaning.FORBIDDEN
    return Meaning.LATER if is_lost(error) or state[:2] in _MAY_WORK_LATER else Meaning.OTHER


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is of no use any more."""
    state = error.sqlstate or ""
    if state in (_READ_ONLY, IDLE_TOO_LONG):  # read only: it was the primary, or a pooler still leads to it
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        not state or (state[:2] in ("08", "57") and state != "57014")
    )


def in_words(error: psycopg.Error) -> str:
    """An error in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]
