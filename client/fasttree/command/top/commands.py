"""`fasttree top`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypedDict

import click

from fasttree.client.calls.pages import PageError, Pages
from fasttree.client.status.cluster import ClusterJson
from fasttree.client.status.pushers import PusherJson
from fasttree.command.screen.rounds import EVERY_S, Round, look_again, rounds_options
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from fasttree.command.status.commands import problem_lines
from fasttree.command.status.looking import Seen, Watched
from fasttree.command.top.figures import Figures, read_figures
from fasttree.command.top.rates import Rates, rates
from fasttree.command.top.shown import PartJson, Row, top_lines

#: Between the look that the first figures are counted from and the first one that is told.
_FIRST_S = 1.0


class TopJson(TypedDict):
    """One look."""

    at: str
    cluster: str
    epoch: int | None
    primary: str | None
    view_age_ms: int | None
    parts: list[PartJson]
    problems: list[str]


@click.command(context_settings={"ignore_unknown_options": True})
@prints(lines=TopJson)
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="")
@rounds_options
@common_options
def top(session: Session, others: tuple[str, ...], every_s: float | None, count: int | None) -> None:
    """What each node, the pusher and the coordinator do now: updates and reads a second, p99, memory, processor.

    Until q or Ctrl-C, through any outage; with --json, a line a look. Figures a second are of the time since the look
    before. The figures are those of the services' HTTP ports: whose port can't be reached has none, and that is said.
    """
    if others:
        raise click.UsageError(f"no {others[0]} here; the members with the most of a column: `fasttree largest`.")
    every_s = EVERY_S if every_s is None else every_s
    problems: list[str] = []

    async def body() -> bool:
        async with Watched(session) as watched:
            looks = _Looks(watched)

            async def one() -> Round:
                seen, found = await looks.one()
                problems[:] = seen.problems if not (seen.has_view or seen.has_pusher) else []
                return found

            _, first = await looks.one()
            if session.json or not sys.stdout.isatty():
                await asyncio.sleep(min(every_s, _FIRST_S))
            return await look_again(one, every_s, count, as_json=session.json, first=first)

    if run(body()) and problems:
        raise CommandError("; ".join(problems))


class _Place(NamedTuple):
    name: str
    kind: str
    #: Of its HTTP port; empty: nobody says where it is.
    address: str
    state: str
    position: int | None
    lag: int | None


class _Looks:
    """One after the other, of which each knows the one before."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        #: By name.
        self._before: dict[str, Figures] = {}

    async def one(self) -> tuple[Seen, Round]:
        """What is so now."""
        seen = await self._watched.look()
        pages = Pages(self._watched.client.tls, self._watched.client.token)
        rows = await asyncio.gather(*(self._row(place, pages) for place in self._places(seen)))
        found = {
            "cluster": seen.content["cluster"],
            "epoch": seen.content["epoch"],
            "primary": seen.content["primary"],
            "view_age_ms": seen.content["view_age_ms"],
            "parts": [row.json for row in rows],
            "problems": seen.problems,
        }
        return seen, Round(found, [*top_lines(seen, list(rows)), *problem_lines(seen.problems)])

    async def _row(self, place: _Place, pages: Pages) -> Row:
        found, problem = Rates(), "its HTTP port is not known: name it in the endpoints file, as http"
        if place.address:
            try:
                text = await pages.get(place.address, "/metrics")
                figures = read_figures(place.kind, text, time.monotonic())
                found, problem = rates(self._before.get(place.name), figures), ""
                self._before[place.name] = figures
            except PageError as error:
                problem = str(error)
            except ValueError:
                problem = f"what the HTTP port {place.address} shows are no figures: is that another program's port?"
        return Row(
            name=place.name,
            kind=place.kind,
            state=place.state,
            position=place.position,
            lag=place.lag,
            rates=found,
            problem=problem,
        )

    def _places(self, seen: Seen) -> Iterator[_Place]:
        endpoints, content = self._watched.client.endpoints, seen.content
        ports = {node.name: node.http for node in endpoints.nodes}
        for node in content["nodes"]:
            address = ports.get(node["node"]) or node.get("http", "")
            yield _Place(node["node"], "node", address, node["state"], node["position"], node["lag"])
        answers = {"pusher": seen.has_pusher, "coordinator": seen.has_view}
        pushers = {each["pusher"]: each for each in content["pushers"]}
        for name, address in endpoints.http.items():
            kind = next((kind for kind in answers if name.startswith(kind)), "")
            if kind:
                yield _Place(name, kind, address, *_standing(name, kind, answers[kind], content, pushers))


def _standing(
    name: str, kind: str, answers: bool, content: ClusterJson, pushers: Mapping[str, PusherJson]
) -> tuple[str, int | None, int | None]:
    """State, position and lag of what is no node."""
    if name in pushers:
        return pushers[name]["state"], pushers[name]["position"], pushers[name]["lag"]
    position = content["log"]["position"] if kind == "pusher" and content["log"] else None
    return "" if answers else "no answer", position, None
