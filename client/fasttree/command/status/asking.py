"""Asks coordinators and pushers, each of the client's list at one time: one that is away holds nobody up."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Generic, NamedTuple, TypeVar

from fasttree.client import CallError, Client, EndpointsError
from fasttree.v1 import coordinator_pb2, pusher_pb2

Answer = TypeVar("Answer")

#: What each has to answer in, in seconds, where there are several.
EACH_S = 1.0


class Asked(NamedTuple, Generic[Answer]):
    """What came of it."""

    #: The active one's word, or why there is none.
    answer: Answer | CallError | EndpointsError
    #: That of each of the list, by its address.
    each: Mapping[str, Answer | CallError]


async def ask_coordinators(client: Client, timeout_s: float) -> Asked[coordinator_pb2.Cluster]:
    """The cluster as `Client.get_cluster` has it, but that the first of the list is not waited for where it is away."""
    addresses = client.endpoints.coordinator
    if "," not in addresses:
        return _alone(addresses, await _caught(client.get_cluster()))
    said = await client.get_each_cluster(min(EACH_S, timeout_s))
    if len(_active(said)) > 1:  # a turn that ended between two answers is over by now
        said = await client.get_each_cluster(min(EACH_S, timeout_s))
    for view in _active(said):
        return Asked(view, said)
    told = [view for view in said.values() if not isinstance(view, CallError)]
    if told and all(view.coordinator in ("", *said) for view in told):
        return Asked(max(told, key=lambda view: view.observed_at.ToNanoseconds()), said)
    # The active one may be none of the list, and where nobody answers, who waits longer hears why.
    return Asked(await _caught(client.get_cluster()), said)


def _active(said: Mapping[str, coordinator_pb2.Cluster | CallError]) -> list[coordinator_pb2.Cluster]:
    return [view for view in said.values() if not isinstance(view, CallError) and not view.standby]


async def ask_pushers(client: Client, timeout_s: float) -> Asked[pusher_pb2.GetPusherResponse]:
    """The same of pushers. One that was cut off may take itself for active: the highest epoch counts."""
    addresses = client.endpoints.pusher
    if "," not in addresses:
        return _alone(addresses, await _caught(client.get_pusher()))
    said = await client.get_each_pusher(min(EACH_S, timeout_s))
    active = [answer for answer in said.values() if not isinstance(answer, CallError)]
    if active:
        return Asked(max(active, key=lambda answer: answer.epoch), said)
    return Asked(await _caught(client.get_pusher()), said)


async def _caught(asked: Awaitable[Answer]) -> Answer | CallError | EndpointsError:
    try:
        return await asked
    except (CallError, EndpointsError) as error:
        return error


def _alone(address: str, answer: Answer | CallError | EndpointsError) -> Asked[Answer]:
    if isinstance(answer, EndpointsError):
        return Asked(answer, {})  # nobody was asked
    return Asked(answer, {address: answer})
