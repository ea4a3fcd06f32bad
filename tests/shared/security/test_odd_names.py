"""Names that certificates may have and that are nobody's."""

from __future__ import annotations

import pytest

from services.shared.security.caller import Caller
from services.shared.security.guard import Guard, Refusal, principals_of
from services.shared.security.roles import shipped_policy

GET_CLUSTER = "/fasttree.v1.CoordinatorService/GetCluster"
OPERATOR = b"spiffe://dot-test/operator/a"


@pytest.mark.parametrize(
    ("peer", "names"),
    [
        ({"peer_uri": [OPERATOR], "x509_common_name": [b"anna"]}, ("spiffe://dot-test/operator/a",)),
        ({"peer_uri": [b"token://operator/a"]}, ()),
        ({"peer_uri": [b"token://operator/a", b"spiffe://dot-test/x/a"]}, ("spiffe://dot-test/x/a",)),
        ({"peer_dns": [OPERATOR, b"host"]}, ("host",)),
        ({"x509_common_name": [OPERATOR]}, ()),
        ({"x509_common_name": [b"anna"]}, ("anna",)),
        ({}, ()),
    ],
    ids=["uri", "token", "token-and-uri", "dns-like-a-uri", "common-name-like-a-uri", "common-name", "none"],
)
def test_a_certificate_has_names_of_its_own_kind_alone(peer: dict[str, list[bytes]], names: tuple[str, ...]) -> None:
    assert principals_of(peer) == names


@pytest.mark.parametrize(
    "peer",
    [{"peer_uri": [b"token://operator/a"]}, {"x509_common_name": [OPERATOR]}],
    ids=["token", "common-name"],
)
def test_who_has_a_role_in_another_field_of_his_certificate_has_none(peer: dict[str, list[bytes]]) -> None:
    guard = Guard(lambda: shipped_policy("dot-test"))
    assert isinstance(guard.judge_peer(GET_CLUSTER, {"peer_uri": [OPERATOR]}, None, None), Caller)
    assert isinstance(guard.judge_peer(GET_CLUSTER, peer, None, None), Refusal)


def test_nor_does_a_vip_tell_such_a_name() -> None:
    guard, vip = Guard(lambda: shipped_policy("dot-test")), {"peer_uri": [b"spiffe://dot-test/vip/v"]}
    assert isinstance(guard.judge_peer(GET_CLUSTER, vip, f"URI={OPERATOR.decode()}", None), Caller)
    assert isinstance(guard.judge_peer(GET_CLUSTER, vip, "URI=token://operator/a", None), Refusal)
