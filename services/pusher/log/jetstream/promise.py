"""What a log in JetStream promises, by what its stream and the servers that hold it are set to."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Final

from services.pusher.log.jetstream.stream import StreamInfo
from services.pusher.log.store import Durability

logger = logging.getLogger(__name__)

_TIMEOUT_S: Final = 2.0
_ANSWER_BYTES_MAX: Final = 1 << 20


def ask_servers(urls: str) -> dict[str, bool]:
    """Of each server that answers, by its name: whether it writes to its disk before it answers."""
    found: dict[str, bool] = {}
    for url in filter(None, urls.split(",")):
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/varz", timeout=_TIMEOUT_S) as answer:
                said = json.loads(answer.read(_ANSWER_BYTES_MAX))
            found[str(said["server_name"])] = bool(said["jetstream"]["config"].get("sync_always", False))
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.info("%s does not tell what it is set to: %s", url, error)
    return found


def promised(info: StreamInfo, syncs: Mapping[str, bool], place: str) -> Durability:
    """What becomes of an acknowledged update when a machine is lost.

    Args:
        syncs: As `ask_servers`.
    """
    where = f"in {place}"
    if info.replicas < 2:
        return Durability("jetstream", False, f"{where}, lost with one server's disk: the stream has one replica")
    lazy = sorted(name for name in info.peers if syncs.get(name) is False)
    if lazy:
        why = f"{', '.join(lazy)} answers before its disk has it (set sync_interval: always)"
        return Durability("jetstream", False, f"{where}, {info.replicas} replicas, but {why}")
    unknown = sorted(name for name in info.peers if name not in syncs)
    if unknown:
        why = f"whether {', '.join(unknown)} has sync_interval: always is not known (nats_monitoring_urls)"
        return Durability("jetstream", False, f"{where}, {info.replicas} replicas, but {why}")
    away = f"; {', '.join(info.away)} is not up to date at the moment" if info.away else ""
    waits = f"a write waits for the disks of {info.replicas // 2 + 1} of {info.replicas} servers"
    return Durability("jetstream", True, f"{where}; {waits}{away}")
