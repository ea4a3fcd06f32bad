"""Several servers of one kind, as each answers who looks: which is active, which stand by, which can't be reached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypedDict

from fasttree.client.calls.servers import STANDBY
from fasttree.client.errors import CallError
from fasttree.client.status.pushers import PusherJson
from fasttree.v1 import coordinator_pb2, pusher_pb2

#: What one says of itself that is not active begins so.
_SAYS = re.compile(r"this (?:coordinator|pusher) (?:stands by(?:: |, and ))?")
_UNFIT = " stands by, and can't "


class ServerJson(TypedDict):
    """A coordinator, or a pusher, as it answers from here.

    Its state is active, standby, unfit (it stands by, and could not be active), not reached, or unknown: it answers,
    but not that.
    """

    address: str
    state: str
    note: str


def server_json(address: str, said: coordinator_pb2.Cluster | pusher_pb2.GetPusherResponse | CallError) -> ServerJson:
    """`said`: to who asked it for what an active one tells."""
    standing = said.standby if isinstance(said, coordinator_pb2.Cluster) else ""
    if isinstance(said, CallError):
        if said.unreached:
            return {"address": address, "state": "not reached", "note": said.unreached}
        if said.reason != STANDBY:
            return {"address": address, "state": "unknown", "note": said.message}
        standing = said.message
    state = "active" if not standing else "unfit" if _UNFIT in standing else "standby"
    return {"address": address, "state": state, "note": _SAYS.sub("", standing, count=1)}


class ServersJson(TypedDict):
    """Each coordinator of a client's list; the pushers of its list that the coordinator does not name."""

    coordinators: list[ServerJson]
    pushers_not_named: list[ServerJson]


def servers_json(
    pushers: list[PusherJson],
    coordinators: Mapping[str, coordinator_pb2.Cluster | CallError],
    listed_pushers: Mapping[str, pusher_pb2.GetPusherResponse | CallError],
) -> ServersJson:
    """`pushers`: those that the coordinator names. The others: what each of a list said, by its address."""
    return {
        "coordinators": [server_json(*said) for said in coordinators.items()],
        "pushers_not_named": _not_named(pushers, listed_pushers),
    }


def _not_named(
    pushers: list[PusherJson], said: Mapping[str, pusher_pb2.GetPusherResponse | CallError]
) -> list[ServerJson]:
    """Those of a list that the coordinator does not name among its pushers: none of the coordinators has heard them, or
    the one that did is not active any more."""
    if len(said) == 1:  # it need not take turns
        return []
    named = {pusher["address"] for pusher in pushers}
    found = [server_json(address, answer) for address, answer in said.items() if address not in named]
    if named - said.keys():  # the list may have other names for their addresses
        return [server for server in found if server["state"] == "not reached"]
    return found
