"""What a server that is not active says of itself, in its own words, is understood by who looks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fasttree.client import FailedPreconditionError, PermissionDeniedError, UnavailableError
from fasttree.client.errors import CallError
from fasttree.client.status.servers import server_json
from fasttree.v1 import coordinator_pb2
from services.coordinator.leadership import standby as coordinator_standby
from services.pusher.leadership.standby import Standby


def coordinator_says(**core: str) -> str:
    """One that stands by."""
    return coordinator_standby.standing(
        cast("Any", SimpleNamespace(**{"problem": "", "holder": "", "holder_address": ""} | core))
    )


def pusher_says(*, epoch: int = 0, problem: str = "", active: tuple[str, str] = ("", ""), elsewhere: str = "") -> str:
    """The same of a pusher."""
    standby = Standby.__new__(Standby)
    standby.is_ending = False
    standby._turn = cast("Any", SimpleNamespace(epoch=epoch, problem=problem, active=active, unfit=""))
    standby._refusal = cast("Any", lambda: "")
    standby._log = cast("Any", lambda: SimpleNamespace(elsewhere=elsewhere, problem=elsewhere))
    return standby.standing


@pytest.mark.parametrize(
    ("says", "state", "note"),
    [
        (coordinator_says(), "standby", "none is active yet"),
        (
            coordinator_says(holder="c-0_1234", holder_address="a:50400"),
            "standby",
            "c-0 is active at a:50400",
        ),
        (coordinator_says(problem="db1 is away"), "unfit", "can't see which one is active: db1 is away"),
        (pusher_says(elsewhere="this log was moved"), "unfit", "can't be active: this log was moved"),
        (pusher_says(epoch=3, problem="full"), "standby", "was made active, and claims the log: full"),
    ],
)
def test_one_that_stands_by(says: str, state: str, note: str) -> None:
    refused = UnavailableError(says, reason="STANDBY")
    assert server_json("a:1", refused) == {"address": "a:1", "state": state, "note": note}
    assert server_json("a:1", FailedPreconditionError(says, reason="STANDBY"))["state"] == state
    assert server_json("a:1", coordinator_pb2.Cluster(standby=says)) == {"address": "a:1", "state": state, "note": note}


def test_a_pusher_that_stands_by_says_more_than_that() -> None:
    for active in (("", ""), ("p1", "b:50300")):
        server = server_json("a:1", FailedPreconditionError(pusher_says(active=active), reason="STANDBY"))
        assert (server["state"], "stands by" in server["note"], active[1] in server["note"]) == ("standby", False, True)


def test_one_that_acts_and_those_that_say_nothing_of_it() -> None:
    assert server_json("a:1", coordinator_pb2.Cluster(name="dot"))["state"] == "active"
    may_not = PermissionDeniedError("reader may not call that")
    assert server_json("a:1", may_not) == {"address": "a:1", "state": "unknown", "note": "reader may not call that"}
    gone = CallError("nobody answers at a:1 (Connection refused); is the cluster up?")
    gone.unreached = "Connection refused"
    assert server_json("a:1", gone) == {"address": "a:1", "state": "not reached", "note": "Connection refused"}
