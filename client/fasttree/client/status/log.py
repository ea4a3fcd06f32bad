"""The pusher's log."""

from __future__ import annotations

from typing import TypedDict

from fasttree.v1 import pusher_pb2


class ImportsKeptJson(TypedDict):
    """Where the files of imports are."""

    place: str
    shared: bool
    problem: str


class LogJson(TypedDict):
    """The pusher's log, and what is so at its end."""

    log_id: str
    first_position: int
    position: int | None
    closed: str
    damage: str
    store: str
    survives_machine_loss: bool
    durability: str
    imports_kept: ImportsKeptJson
    rule_version: int
    known_rule_version: int
    rule_version_waits_for: list[str]


def log_json(pusher: pusher_pb2.GetPusherResponse) -> LogJson:
    """As JSON has it."""
    return {
        "log_id": pusher.log_id,
        "first_position": pusher.log_end.first_position,
        "position": pusher.log_end.position if pusher.log_id else None,
        "closed": pusher.closed_reason,
        "damage": pusher.log_damage,
        "store": pusher.log_durability.store,
        "survives_machine_loss": pusher.log_durability.survives_machine_loss,
        "durability": pusher.log_durability.description,
        "imports_kept": {
            "place": pusher.imports_kept.place,
            "shared": pusher.imports_kept.shared,
            "problem": pusher.imports_kept.problem,
        },
        "rule_version": pusher.rules.version,
        "known_rule_version": pusher.known_rule_version,
        "rule_version_waits_for": list(pusher.rule_version_waits_for),
    }
