"""What was in force when: the rules at any position, from the log's records of rules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace

from fasttree.v1 import types_pb2
from services.shared.rules.changes import CHANGES, Refused, changed
from services.shared.rules.rules import NO_RULES, RULE_VERSION, Rules, founding, rules_from, rules_message


def is_rule(update: types_pb2.Update) -> bool:
    """Whether an update may change the rules."""
    return update.WhichOneof("change") in CHANGES


def meant_at(manifest: types_pb2.ImportManifest, rules: Rules, position: int) -> Rules:
    """What updates meant that leave something open, at a position before an import's. `rules`: the import's own."""
    period = next((each.period for each in reversed(manifest.current_periods) if each.position <= position), "")
    removal = next((each.volume for each in reversed(manifest.removal_rules) if each.position <= position), None)
    return replace(
        rules,
        current_period=period or rules.current_period,
        removal_volume=removal or rules.volume_of_removed,
        version=RULE_VERSION,  # before which no rule of removals is asked for
    )


class RulesHistory:
    """The rules after each record that changed them, oldest first."""

    def __init__(self, records: Iterable[tuple[int, types_pb2.Update]] = ()) -> None:
        """`records`: positions and updates, in order; those that are no rules, or were rejected, change nothing."""
        self._positions: list[int] = []
        self._rules: list[Rules] = []
        for position, update in records:
            self.add(position, update)

    @property
    def founded(self) -> bool:
        """Whether the log has its first rules."""
        return bool(self._rules)

    @property
    def founded_at(self) -> int:
        """Position of the record of its first rules where the log begins with it; else 0."""
        return 1 if self._positions[:1] == [1] else 0

    @property
    def newest(self) -> Rules:
        """Those in force at the log's end."""
        return self._rules[-1] if self._rules else NO_RULES

    @property
    def founding(self) -> Rules:
        """Those from before the first record of a rule."""
        return founding(self._rules[0]) if self._rules else NO_RULES

    def add(self, position: int, update: types_pb2.Update) -> None:
        """The next record of the log that is a rule."""
        kind = update.WhichOneof("change")
        if kind is None or kind not in CHANGES:
            return
        if kind == "rules_founded":
            rules: Rules | Refused = rules_from(update.rules_founded.rules)
        else:
            rules = changed(self.newest, kind, getattr(update, kind))
        if isinstance(rules, Rules):
            self._positions.append(position)
            self._rules.append(rules)

    def at(self, position: int) -> Rules:
        """Those in force for the update after `position`."""
        place = bisect_right(self._positions, position)
        return self._rules[place - 1] if place else self.founding

    def stamp(self, manifest: types_pb2.ImportManifest) -> None:
        """Writes into a manifest that has them not the rules at its position: what its file leaves open means that."""
        if not manifest.HasField("rules"):
            position = manifest.as_of_position
            manifest.rules.CopyFrom(rules_message(self.at(position)))
            manifest.current_periods.extend(self.current_periods(position))
            manifest.removal_rules.extend(self.removal_rules(position))

    def current_periods(self, position: int) -> list[types_pb2.CurrentPeriod]:
        """Which period was current from when on, up to a position, oldest first."""
        found = [types_pb2.CurrentPeriod(period=self.founding.current_period)]
        for at, rules in zip(self._positions, self._rules, strict=True):
            if at <= position and rules.current_period != found[-1].period:
                found.append(types_pb2.CurrentPeriod(position=at, period=rules.current_period))
        return found

    def removal_rules(self, position: int) -> list[types_pb2.CurrentRemovalRule]:
        """What removals that leave it open meant from when on, in the same way."""
        found = [types_pb2.CurrentRemovalRule(volume=self.founding.volume_of_removed)]
        for at, rules in zip(self._positions, self._rules, strict=True):
            if at <= position and rules.volume_of_removed != found[-1].volume:
                found.append(types_pb2.CurrentRemovalRule(position=at, volume=rules.volume_of_removed))
        return found
