"""The operator of the rules opens and closes months, declares columns, settles held updates, while others push."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fasttree.v1 import types_pb2
from tests.simulator.clients import COLUMNS
from tests.simulator.pusher_rules import day_of, rule
from tests.simulator.toy_rules import column_text, month_of, month_text
from tests.simulator.toy_tree import SETTLE, Update

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

#: Days for what comes late.
LATE_DAYS_MAX = 3
_VOLUMES = (types_pb2.REMOVAL_VOLUME_ROLL_UP, types_pb2.REMOVAL_VOLUME_LEAVES)


class Operator:
    """Pushes as a client does. What it knows is what it saw last; some of what it asks for is refused."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def act(self) -> None:
        """One change, most of them of months."""
        random = self._cluster.world.random
        act = random.choices((self._open, self._close, self._declare, self._set, self._settle), (30, 35, 10, 10, 15))[0]
        act()

    def turn_month(self) -> None:
        """Another month begins, and is over at once: the newest of those that are closed for good."""
        rules = self._cluster.pusher.desk.door.rules
        newest = max(month_of(each) for each in (*rules.periods, *rules.sealed_periods))
        client = self._cluster.world.random.choice(self._cluster.clients)
        changes = [
            types_pb2.Update(period_opened=types_pb2.PeriodOpened(period=month_text(month), becomes_current=True))
            for month in (newest + 1, newest + 2)
        ]
        closed = types_pb2.PeriodClosed(period=month_text(newest + 1))
        for change in (*changes, types_pb2.Update(period_closed=closed)):
            client.say(partial(rule, change=change))

    def _open(self) -> None:
        """The next month, mostly as the current one."""
        random, rules = self._cluster.world.random, self._cluster.pusher.desk.door.rules
        newest = max(month_of(each) for each in (*rules.periods, *rules.sealed_periods))
        month = newest + 1 if random.random() < 0.7 else random.randint(1, newest)
        opened = types_pb2.PeriodOpened(period=month_text(month), becomes_current=random.random() < 0.7)
        self._push(types_pb2.Update(period_opened=opened))

    def _close(self) -> None:
        random, rules = self._cluster.world.random, self._cluster.pusher.desk.door.rules
        others = [each for each in rules.periods if each != rules.current_period]
        until = ""
        if random.random() < 0.7:
            until = day_of(self._cluster.pusher.clock.wall(), random.randint(0, LATE_DAYS_MAX))
        closed = types_pb2.PeriodClosed(period=random.choice(others or [rules.current_period]), late_until=until)
        self._push(types_pb2.Update(period_closed=closed))

    def _declare(self) -> None:
        name = column_text(self._cluster.world.random.randint(1, COLUMNS))
        self._push(types_pb2.Update(column_declared=types_pb2.ColumnDeclared(name=name, type="integer")))

    def _set(self) -> None:
        random = self._cluster.world.random
        if random.random() < 0.2:
            customers = types_pb2.CustomerRuleSet(statuses=random.choice(([], ["X"])), rank_zero=random.random() < 0.5)
            self._push(types_pb2.Update(customer_rule_set=customers))
        elif random.random() < 0.5:
            removal = types_pb2.RemovalRuleSet(volume=random.choice(_VOLUMES))
            self._push(types_pb2.Update(removal_rule_set=removal))
        else:
            thresholds = types_pb2.ImportThresholdsSet(members_min=random.randint(0, 3))
            self._push(types_pb2.Update(import_thresholds_set=thresholds))

    def _settle(self) -> None:
        """One that some node holds, as far as it is known."""
        random = self._cluster.world.random
        held = sorted(random.choice(self._cluster.nodes).tree.held)
        if held:
            position = random.choice(held)
            random.choice(self._cluster.clients).say(lambda name: Update(name, SETTLE, position, 0))

    def _push(self, change: types_pb2.Update) -> None:
        self._cluster.world.random.choice(self._cluster.clients).say(lambda name: rule(name, change))
