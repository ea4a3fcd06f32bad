"""One look at the cluster: what coordinator and pusher say, and what is wrong; for every command that shows it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from fasttree.client import (
    CallError,
    Client,
    Endpoints,
    EndpointsError,
    FastTreeClientError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from fasttree.client.calls.pages import PageError, Pages
from fasttree.client.calls.servers import STANDBY
from fasttree.client.calls.tokens import is_here
from fasttree.client.status.cluster import ClusterJson, status_json
from fasttree.client.status.nodes import name_nodes, named_json, unheard_nodes
from fasttree.client.status.problems import Problem, problems_of, server_problems
from fasttree.client.status.servers import ServersJson, servers_json
from fasttree.command.processes import last_words
from fasttree.command.session import CommandError, Session
from fasttree.command.status import unfinished
from fasttree.command.status.asking import ask_coordinators, ask_pushers

Answer = TypeVar("Answer")

#: Answers of a part that is there, to one who may not ask it.
REFUSED = (PermissionDeniedError, UnauthenticatedError)
#: Status is asked in trouble too: a part that is away should not hold the answer up for long.
STATUS_TIMEOUT_S = 3.0
#: The console is asked at the same time, and for one figure.
CONSOLE_TIMEOUT_S = 1.0
_NOT_UNDONE = "fasttree_console_drill_not_undone"


class SeenJson(ClusterJson, ServersJson):
    """A cluster, and how those answer who are to say so."""


class StatusJson(SeenJson):
    """A cluster, and what of it heals by nothing but an operator."""

    problems: list[str]


class WatchedJson(StatusJson):
    """The same, at that time."""

    at: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look found."""

    content: SeenJson
    #: All that is wrong or worth a look: who does not answer, then what the others say.
    found: tuple[Problem, ...]
    has_view: bool
    has_pusher: bool

    @property
    def problems(self) -> list[str]:
        """What makes `fasttree status` end with 1: who does not answer, and what heals by nothing but an operator."""
        return [problem.text for problem in self.found if problem.fault]

    @property
    def json(self) -> StatusJson:
        """For programs."""
        return {**self.content, "problems": self.problems}


def status_client(session: Session) -> Client:
    """A client that does not wait for long. Raises EndpointsError, CommandError."""
    return session.client(timeout_s=min(session.timeout_s, STATUS_TIMEOUT_S))


async def look(session: Session, client: Client) -> Seen:
    """Asks all at once."""
    timeout_s = min(session.timeout_s, STATUS_TIMEOUT_S)
    coordinators, pushers, drills = await asyncio.gather(
        ask_coordinators(client, timeout_s), ask_pushers(client, timeout_s), _of_console(client)
    )
    view, away, _ = _told(session, "coordinator", coordinators.answer)
    pusher, pusher_away, none_active = _told(session, "pusher", pushers.answer)
    cluster = status_json(view, pusher)
    name_nodes(cluster["nodes"], client.endpoints.nodes)
    if view is not None:
        cluster["nodes"] += unheard_nodes(cluster["nodes"], client.endpoints.nodes)
    elif pusher is None:
        cluster["nodes"] = [named_json(node) for node in client.endpoints.nodes]
    if any(each["state"] == "unfit" for each in cluster["pushers"]):
        none_active = []  # why, they say themselves
    servers = servers_json(cluster["pushers"], coordinators.each, pushers.each)
    of_servers = server_problems(servers, has_view=view is not None)
    of_cluster = sorted((*problems_of(cluster), *of_servers), key=lambda problem: not problem.fault)
    content: SeenJson = {**cluster, **servers}
    found = (*away, *pusher_away, *none_active, *drills, *unfinished.problems(session), *of_cluster)
    return Seen(content=content, found=found, has_view=view is not None, has_pusher=pusher is not None)


def _told(
    session: Session, part: str, answer: Answer | CallError | EndpointsError
) -> tuple[Answer | None, list[Problem], list[Problem]]:
    """The answer; that there is none; that none of that kind is active."""
    if isinstance(answer, REFUSED):
        return None, [Problem(text=f"{part}: {answer}", alert="", fault=True)], []
    if isinstance(answer, CallError) and part == "pusher" and answer.reason == STANDBY:
        return None, [], [Problem(text=f"{part}: {answer}", alert="FastTreePushesRefused", fault=True)]
    if isinstance(answer, (CallError, EndpointsError)):
        return None, [_away(f"{part}: {answer}{last_words(session.endpoints_file().parent, part)}")], []
    return answer, [], []


async def _of_console(client: Client) -> list[Problem]:
    """The API knows no drill: the console does, where this cluster has one, and whether it is undone."""
    address = client.endpoints.http.get("console", "")
    if not address:
        return []
    in_clear = is_here(address)  # it serves so on loopback, whatever the cluster does; nothing is shown to it
    try:
        tls, token = (None, None) if in_clear else (client.tls, client.token)
        page = await Pages(tls, token, CONSOLE_TIMEOUT_S).get(address, "/metrics")
    except PageError:
        return []  # a cluster does not need it
    if not any(line.startswith(_NOT_UNDONE) and line.endswith(" 1.0") for line in page.splitlines()):
        return []
    text = "a drill from the console is not undone: its page Drill says what is in the way, and tries again"
    return [Problem(text=text, alert="FastTreeDrillNotUndone", fault=True)]


def _away(text: str) -> Problem:
    return Problem(text=text, alert="FastTreeServiceDown", fault=True)


class Watched:
    """A cluster that is looked at again and again, wherever its endpoints file leads by then: one that is started anew
    has other ports. Use it as an async context manager."""

    def __init__(self, session: Session) -> None:
        """Raises EndpointsError, CommandError: at the beginning there has to be one."""
        self._session = session
        self._client = status_client(session)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    @property
    def client(self) -> Client:
        """The one that the last look went by."""
        return self._client

    async def look(self) -> Seen:
        """As the function of that name; what is wrong with the endpoints file is a problem among the others."""
        problem = await self._follow()
        seen = await look(self._session, self._client)
        return replace(seen, found=(_away(problem), *seen.found)) if problem else seen

    async def _follow(self) -> str:
        try:
            endpoints = self._session.endpoints()
            if _places(endpoints) != _places(self._client.endpoints):
                before, self._client = self._client, status_client(self._session)
                await before.close()
        except (FastTreeClientError, CommandError) as error:
            return str(error)
        return ""


def _places(endpoints: Endpoints) -> dict[str, Any]:
    """Without the processes, whose ids change where one is started anew on its ports."""
    content = endpoints.content()
    del content["pids"]
    for node in content["nodes"]:
        del node["pid"]
    return content
