"""The first record of a log: the rules that it begins with, made from the settings once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fasttree.v1 import types_pb2
from services.pusher.log.store import LogStore, LogStoreError
from services.shared.config.sections import ClusterSettings
from services.shared.domain.thresholds import FIRST_THRESHOLDS
from services.shared.domain.updates import OWN_ID_PREFIX
from services.shared.rules import Rules, RulesHistory, rules_message, rules_of, version_problem
from services.shared.wire.record import content_bytes

logger = logging.getLogger(__name__)

FOUNDED_ID = f"{OWN_ID_PREFIX}founded"


def rules_of_settings(cluster: ClusterSettings, today: datetime) -> Rules:
    """What the settings say; where they name no period, the month of that day."""
    rules = rules_of(cluster.volume_types, cluster.periods or [f"{today:%Y-%m}"])
    return replace(
        rules,
        import_thresholds=cluster.import_thresholds,
        customer_statuses=tuple(cluster.customer_statuses),
        customers_are_rank_zero=cluster.customers_are_rank_zero,
    )


def founded(store: LogStore, cluster: ClusterSettings, today: datetime | None = None) -> RulesHistory:
    """The rules of a log, which begins with those of the settings where it has none yet. Blocks, and is alone.

    A log of a version before rules gets them at its end: what stands before was taken by them.

    Raises:
        LogStoreError: The log can't be read or written, or its rules are of a version that this build does not know.
    """
    history = RulesHistory(store.rule_records())
    if problem := version_problem(history.newest.version):
        raise LogStoreError(f"in this log {problem}")
    if not history.founded:
        rules = rules_of_settings(cluster, today or datetime.now(UTC))
        update = types_pb2.Update(
            update_id=FOUNDED_ID, rules_founded=types_pb2.RulesFounded(rules=rules_message(rules))
        )
        appended = store.append([FOUNDED_ID], [content_bytes(update)], rules=(0,))
        if appended.run is None:
            raise LogStoreError(f"the log has another update under {FOUNDED_ID}: its rules can't be founded")
        history.add(appended.positions[0], update)
        logger.info(
            "the log begins with the volume types %s and the period %s",
            ", ".join(rules.volume_types),
            ", ".join(rules.periods),
        )
    for line in disagreements(cluster, history.newest):
        logger.warning("%s", line)
    return history


def disagreements(cluster: ClusterSettings, rules: Rules) -> list[str]:
    """What settings say that the rules don't, each with the command that would change the rule. Thresholds that are as
    they are by default are taken for ones that nobody set."""
    lines: list[str] = []
    more = [each for each in cluster.volume_types if each not in rules.volume_types]
    if more or cluster.volume_types[0] != rules.volume_types[0]:
        lines.append(
            f"cluster.volume_types = {', '.join(cluster.volume_types)} is for a new log only; this one has "
            f"{', '.join(rules.volume_types)}: `fasttree volume-type add` adds one"
        )
    wanted = [each for each in cluster.periods if each not in (*rules.periods, *rules.sealed_periods)]
    if wanted:
        lines.append(
            f"cluster.periods = {', '.join(cluster.periods)} is for a new log only; in this one "
            f"{', '.join(rules.periods)} can be named by orders: `fasttree period open` opens one"
        )
    statuses, rank_zero = cluster.customer_statuses, cluster.customers_are_rank_zero
    if (statuses and statuses != list(rules.customer_statuses)) or (rank_zero and not rules.customers_are_rank_zero):
        lines.append(
            "cluster.customer_statuses and cluster.customers_are_rank_zero are for a new log only, and this one has "
            "another rule about customers: `fasttree rules set` changes it"
        )
    asked, default = cluster.import_thresholds._asdict(), FIRST_THRESHOLDS._asdict()
    more = [name for name in asked if asked[name] not in (default[name], getattr(rules.import_thresholds, name))]
    if more:
        lines.append(
            f"the thresholds of imports in [cluster], {_said(asked, more)}, are for a new log only; this one has "
            f"{_said(rules.import_thresholds._asdict(), more)}: `fasttree rules set` changes them"
        )
    return lines


def _said(thresholds: Mapping[str, float], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {thresholds[name]:g}" for name in names)
