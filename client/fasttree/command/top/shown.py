"""What `fasttree top` tells people: a row a process, then the busiest calls; eighty columns hold it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fasttree.client.status.nodes import NOT_HEARD
from fasttree.client.status.problems import LAG_UPDATES
from fasttree.command.screen.styled import Line, Style, Text, table_lines
from fasttree.command.status.looking import Seen
from fasttree.command.status.shown import age_lines
from fasttree.command.top.rates import Rates, RatesJson

_CALLS_SHOWN = 12
#: From half a lease on, a heartbeat may come too late (the alert FastTreeLoopHeld).
_LOOP_HELD_MS = 500.0
#: As the alert FastTreeReportsSlow has it.
_SLOW_MS = 250.0


class PartJson(RatesJson):
    """One process."""

    name: str
    kind: str
    state: str
    position: int | None
    lag: int | None
    problem: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One process: what coordinator and pusher say of it, and its own figures."""

    name: str
    kind: str
    state: str
    position: int | None
    lag: int | None
    rates: Rates
    #: Why there are no figures.
    problem: str = ""

    @property
    def json(self) -> dict[str, Any]:
        """As `PartJson` has it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "position": self.position,
            "lag": self.lag,
            **self.rates.json,
            "problem": self.problem,
        }


def top_lines(seen: Seen, rows: list[Row]) -> Iterator[Line]:
    """All of it, but the problems of the cluster."""
    content = seen.content
    title = content["cluster"] or "cluster unknown"
    title += f" · epoch {content['epoch']} · primary {content['primary'] or 'none'}" if seen.has_view else ""
    yield [Text(title, Style.HEAD)]
    yield from age_lines(content["view_age_ms"])
    columns = ["", "state", "position", "lag", "upd/s", "reads/s", "p99 ms", "MB", "cpu %", "loop ms"]
    yield from table_lines(columns, [_cells(row) for row in rows])
    busiest = sorted(((row.name, each) for row in rows for each in row.rates.calls), key=lambda found: -found[1].per_s)[
        :_CALLS_SHOWN
    ]
    if busiest:
        yield [Text("")]
        calls = [
            [
                Text(each.call),
                Text(name),
                Text(_number(each.per_s)),
                Text(_number(each.failed_per_s), Style.BAD if each.failed_per_s else Style.PLAIN),
                _held_against(each.p99_ms, _SLOW_MS if each.call == "GetMember" else None),
            ]
            for name, each in busiest
        ]
        yield from table_lines(["call", "", "calls/s", "failed/s", "p99 ms"], calls)
    for row in rows:
        if row.problem:
            yield [Text(f"{row.name}: {row.problem}", Style.LOOK)]


def _cells(row: Row) -> list[Text]:
    rates = row.rates
    states = {
        "primary": Style.GOOD,
        "active": Style.GOOD,
        "silent": Style.BAD,
        NOT_HEARD: Style.BAD,
        "no answer": Style.BAD,
    }
    lags = row.lag is not None and row.lag > LAG_UPDATES
    return [
        Text(row.name),
        Text(row.state, states.get(row.state, Style.PLAIN)),
        Text("" if row.position is None else str(row.position)),
        Text("" if row.lag is None else str(row.lag), Style.LOOK if lags else Style.PLAIN),
        Text(_number(rates.updates_per_s)),
        Text(_number(rates.reads_per_s)),
        _held_against(rates.p99_ms, _SLOW_MS),
        Text("" if rates.memory_bytes is None else f"{rates.memory_bytes / 1e6:.0f}"),
        Text(_number(rates.processor_percent)),
        _held_against(rates.loop_delay_ms, _LOOP_HELD_MS),
    ]


def _held_against(value: float | None, most: float | None) -> Text:
    return Text(_number(value), Style.LOOK if value is not None and most is not None and value > most else Style.PLAIN)


def _number(value: float | None) -> str:
    """As short as it may be read."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
