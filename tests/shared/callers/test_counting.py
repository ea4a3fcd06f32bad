"""Callers as a server asks for them: who has an account with whom, who has none, what is said to whom."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.shared.security.caller import Caller
from services.shared.security.roles import CALLS, INSIDE
from services.shared.serving.callers.counting import Callers, host_of
from services.shared.serving.callers.limits import Ended
from services.shared.serving.callers.settings import CallerSettings

GET_MEMBER, KEEP_ALIVE = b"/fasttree.v1.ReportService/GetMember", b"/fasttree.v1.CoordinatorService/KeepAlive"
CHECK, WATCH = b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch"
FEW = CallerSettings(caller_calls_max=2, caller_streams_max=1, leader_calls_max=1, callers_remembered_max=100)


def cert(role: str, name: str = "x") -> Caller:
    return Caller((f"spiffe://dot-live/{role}/{name}",), name if role == "leader" else None)


def ask(
    callers: Callers,
    caller: Caller | None,
    path: bytes = GET_MEMBER,
    *,
    at: str = "ipv4:10.0.0.7:4000",
    stream: bool = False,
) -> Any:
    return callers.begin(caller, at, path, stream)


def is_refused(found: Any) -> bool:
    return not (found is None or isinstance(found, Ended))


@pytest.mark.parametrize("role", INSIDE)
def test_the_parts_of_a_cluster_have_no_limits(role: str) -> None:
    callers = Callers(FEW, "treenode")
    assert [ask(callers, cert(role), path, stream=True) for path in (GET_MEMBER, KEEP_ALIVE) * 10] == [None] * 20
    assert not callers.remembered


def test_health_checks_have_none_whoever_asks() -> None:
    callers = Callers(FEW, "treenode")
    assert [ask(callers, who, CHECK) for who in (None, cert("reporter")) for _ in range(10)] == [None] * 20
    assert not is_refused(ask(callers, None, WATCH, stream=True))
    assert is_refused(ask(callers, None, WATCH, stream=True))


def test_a_caller_is_a_name_wherever_he_calls_from_and_an_address_where_he_has_none() -> None:
    callers = Callers(FEW, "treenode")
    for peer in ("ipv4:10.0.0.1:1", "ipv4:10.0.0.2:2"):
        assert isinstance(ask(callers, cert("reporter"), at=peer), Ended)
    assert is_refused(ask(callers, cert("reporter"), at="ipv4:10.0.0.3:3"))
    assert not is_refused(ask(callers, cert("reporter", "y")))
    # In clear, where a token shows who somebody is or nobody does.
    for port in (1, 2):
        assert not is_refused(ask(callers, Caller(()), at=f"ipv4:10.0.0.1:{port}"))
    assert is_refused(ask(callers, None, at="ipv4:10.0.0.1:3"))
    assert not is_refused(ask(callers, None, at="ipv4:10.0.0.2:3"))
    # What a node asks from that machine is counted apart from what others ask.
    assert not is_refused(ask(callers, None, KEEP_ALIVE, at="ipv4:10.0.0.1:4", stream=True))
    # No name is an address, whatever it is made of.
    assert not is_refused(ask(callers, Caller(("address 10.0.0.1",))))


def test_what_ends_makes_room_also_where_it_was_in_common() -> None:
    callers = Callers(CallerSettings(caller_calls_max=1, callers_remembered_max=1), "treenode")
    first, second = ask(callers, cert("reporter", "a")), ask(callers, cert("reporter", "b"))
    assert is_refused(ask(callers, cert("reporter", "a")))
    assert is_refused(ask(callers, cert("reporter", "c")))
    callers.end(second)
    second = ask(callers, cert("reporter", "c"))
    assert isinstance(second, Ended)
    callers.end(first)
    assert not is_refused(ask(callers, cert("reporter", "a")))


@pytest.mark.parametrize(
    ("caller", "settings", "stream", "said", "reason"),
    [
        (
            cert("reporter"), FEW, False, "spiffe://dot-live/reporter/x has 2 calls under way; "
            "treenode.caller_calls_max sets how many may be", "TOO_MANY_CALLS_OF_CALLER",
        ),
        (
            cert("reporter"), FEW, True, "spiffe://dot-live/reporter/x has 1 streams under way; "
            "treenode.caller_streams_max sets how many may be", "TOO_MANY_STREAMS_OF_CALLER",
        ),
        (
            None, CallerSettings(caller_calls_per_s=0.5, caller_burst_s=1), False,
            "10.0.0.7 calls more often than 0.5 times a second; treenode.caller_calls_per_s sets how often",
            "TOO_OFTEN_BY_CALLER",
        ),
        (
            cert("leader"), FEW, False, "spiffe://dot-live/leader/x has 1 calls under way; "
            "treenode.leader_calls_max sets how many may be", "TOO_MANY_CALLS_OF_CALLER",
        ),
        (
            Caller(("token://leader/a\x1bb",), "7"), CallerSettings(leader_calls_per_s=1, caller_burst_s=1), False,
            "token://leader/a\\x1bb calls more often than 1 times a second; treenode.leader_calls_per_s sets how often",
            "TOO_OFTEN_BY_CALLER",
        ),
    ],
    ids=["calls", "streams", "address", "leader", "leader-rate"],
)  # fmt: skip
def test_who_is_refused_is_told_which_setting_and_when_to_come_again(
    caller: Caller | None, settings: CallerSettings, stream: bool, said: str, reason: str
) -> None:
    callers = Callers(settings, "treenode", lambda: 7.0)
    while not is_refused(status := ask(callers, caller, stream=stream)):
        pass
    assert (status.code, status.details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, said)
    told, info, retry = status_pb2.Status(), error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    told.ParseFromString(dict(status.trailing_metadata)["grpc-status-details-bin"])
    assert told.details[0].Unpack(info)
    assert told.details[1].Unpack(retry)
    assert info.reason == reason
    assert 0 < retry.retry_delay.ToMilliseconds() <= 2_000


def test_figures_are_by_role_and_never_by_name() -> None:
    callers = Callers(CallerSettings(caller_calls_max=1, leader_calls_max=1), "treenode")
    for number in range(20):
        for who in (
            cert("reporter", f"{number}"),
            cert(f"role{number}"),
            Caller((f"CN{number}",)),
            cert("leader", "7"),
        ):
            ask(callers, who)
            ask(callers, who)
        ask(callers, None, at=f"ipv4:10.0.0.{number}:1")
        ask(callers, None, at=f"ipv4:10.0.0.{number}:2")
    assert {role for role, _ in callers.refused} == {"reporter", "leader", "other", "nobody"}
    assert {limit for _, limit in callers.refused} == {"calls"}
    assert callers.refused["reporter", "calls"] == 20
    assert "reporter" in CALLS


def test_what_is_held_of_callers_is_bounded() -> None:
    callers = Callers(CallerSettings(callers_remembered_max=10), "treenode")
    for number in range(1_000):
        ask(callers, cert("reporter", str(number)))
        ask(callers, None, at=f"ipv4:10.0.{number // 256}.{number % 256}:1")
    assert callers.remembered == 10
    assert len(callers._known) <= 20


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:4312", "10.0.0.7"),
        ("ipv6:[2001:db8:0:7:1::2]:4312", "2001:db8:0:7::/64"),
        ("ipv6:%5B2001:db8:0:7:9::9%5D:1", "2001:db8:0:7::/64"),
        ("ipv6:[fe80::1%eth0]:5", "fe80::/64"),
        ("ipv6:[nothing]:5", "nothing"),
        ("unix:", "unix"),
        ("unix:/run/x", "unix"),
        ("unknown", "unknown"),
    ],
)
def test_the_host_of_a_peer(peer: str, host: str) -> None:
    assert host_of(peer) == host
