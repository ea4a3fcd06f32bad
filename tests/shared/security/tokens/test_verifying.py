"""Which tokens count, and as whose: signatures, claims, what is revoked, what is remembered."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from fasttree.command.certs.roles import PARTS
from services.shared.security.roles import MACHINES
from services.shared.security.settings import TlsError
from services.shared.security.tokens.bearer import EXPIRED, INVALID, REVOKED, TokenError
from services.shared.security.tokens.keys import read_keys
from services.shared.security.tokens.revocation import Revoked, read_revoked
from services.shared.security.tokens.verifying import Verifier
from tests.shared.security.tokens.issuer import Issuer, settings

KINDS = ("RSA", "EC", "OKP")


class Clock:
    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


def verifier(*issuers: Issuer, clock: Any = time.time, **others: Any) -> Verifier:
    found = Verifier(settings("keys.json", **others), clock)
    found.use(keys=read_keys(json.dumps({"keys": [each.public() for each in issuers]}), "keys.json"))
    return found


def refusal(by: Verifier, authorization: str) -> TokenError:
    with pytest.raises(TokenError) as raised:
        by.bearer(authorization)
    return raised.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_token_names_its_holder(kind: str) -> None:
    issuer = Issuer(kind)
    found = verifier(issuer).bearer(issuer.bearer(sub="bob@example.com", role=["offline_access", "auditor", "monitor"]))
    assert found.principals == ("token://auditor/bob@example.com", "token://monitor/bob@example.com")
    assert found.leads is None


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_an_ed25519_signature_counts_by_its_old_name_too() -> None:
    issuer = Issuer("OKP")
    assert verifier(issuer).bearer(f"Bearer {issuer.token({'alg': 'EdDSA'})}").subject == "alice"


def test_a_leader_s_token_says_which_member_he_is() -> None:
    issuer = Issuer()
    by = verifier(issuer)
    assert by.bearer(issuer.bearer(role="leader", member_id="10420")).leads == "10420"
    assert by.bearer(issuer.bearer(role="leader", member_id=10420)).leads == "10420"
    # Nobody sees more by being a reporter too.
    assert by.bearer(issuer.bearer(role=["reporter", "leader"], member_id="10420")).leads == "10420"
    for member_id in (None, "", " 10420", "x" * 33, True, 1.5, ["10420"], "ä"):
        assert "which member" in refusal(by, issuer.bearer(role="leader", member_id=member_id)).cause


def test_claims_are_found_by_their_names() -> None:
    issuer = Issuer()
    by = verifier(issuer, role_claim="realm_access.roles", member_claim="https://example.com/member.id")
    claims: dict[str, Any] = {"realm_access": {"roles": ["leader"]}, "https://example.com/member.id": "7"}
    assert by.bearer(issuer.bearer(role=None, **claims)).leads == "7"
    assert "role" in refusal(by, issuer.bearer()).cause


def test_every_part_of_a_cluster_is_a_machine() -> None:
    assert MACHINES == PARTS


@pytest.mark.parametrize("role", [*PARTS, ["reporter", "node"]])
def test_no_token_is_a_machine_s(role: Any) -> None:
    issuer = Issuer()
    assert "never a token" in refusal(verifier(issuer), issuer.bearer(role=role)).cause


def test_what_a_token_claims_has_to_be_so() -> None:
    issuer, clock = Issuer(), Clock()
    by, now = verifier(issuer, clock=clock), int(clock.now_s)
    assert by.bearer(issuer.bearer(aud=["another", "fasttree"], exp=now - 50, nbf=now + 50, iat=now + 50))
    wrong: list[dict[str, Any]] = [
        {"iss": "https://login.example.org"}, {"iss": None}, {"iss": ["https://login.example.com"]},
        {"aud": "another"}, {"aud": None}, {"aud": []}, {"aud": {"fasttree": 1}}, {"exp": None}, {"exp": "soon"},
        {"exp": True}, {"exp": float("nan")}, {"exp": float("inf")}, {"exp": 10**400}, {"exp": now + 90_000},
        {"nbf": now + 120}, {"iat": now + 120}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 257},
        {"sub": "a\nb"}, {"jti": 7}, {"role": None}, {"role": 7}, {"role": "Reporter"}, {"role": ["x"] * 65},
        {"role": []}, {"role": "re porter"}, {"role": "reporter/x"},
    ]  # fmt: skip
    for claims in wrong:
        assert refusal(by, issuer.bearer(**claims)).reason == INVALID, claims
    assert refusal(by, issuer.bearer(exp=now - 61)).reason == EXPIRED


def test_a_token_that_is_remembered_expires_too() -> None:
    issuer, clock = Issuer(), Clock()
    by = verifier(issuer, clock=clock, clock_skew_s=10.0)
    token = issuer.bearer(exp=int(clock.now_s) + 100)
    first = by.bearer(token)
    assert by.bearer(token) is first
    clock.now_s += 109
    assert by.bearer(token) is first
    clock.now_s += 2
    assert refusal(by, token).reason == EXPIRED


def test_what_is_revoked_is_refused_at_once_though_remembered() -> None:
    issuer = Issuer()
    by = verifier(issuer)
    mine, other = issuer.bearer(jti="t7"), issuer.bearer(jti="t8", sub="mallory")
    assert by.bearer(mine).token_id == "t7"
    assert by.bearer(other).subject == "mallory"
    by.use(revoked=Revoked(frozenset({"t7"}), frozenset({"mallory"})))
    assert refusal(by, mine).reason == REVOKED
    assert refusal(by, other).reason == REVOKED
    assert by.bearer(issuer.bearer(jti=None))


def test_a_key_that_is_gone_takes_its_tokens_with_it() -> None:
    old, new = Issuer(kid="k1"), Issuer(kid="k2")
    wanted: list[None] = []
    by = Verifier(settings("keys.json"), want_keys=lambda: wanted.append(None))
    assert refusal(by, old.bearer()).cause == "no keys are known"
    by.use(keys=read_keys(json.dumps({"keys": [old.public(), new.public()]}), "x"))
    assert by.bearer(old.bearer())
    assert by.bearer(new.bearer())
    by.use(keys=read_keys(json.dumps({"keys": [new.public()]}), "x"))
    assert "has not" in refusal(by, old.bearer()).cause or "have not" in refusal(by, old.bearer()).cause
    assert by.bearer(new.bearer())
    assert len(wanted) == 3


def test_of_several_keys_a_token_has_to_name_one() -> None:
    first, second = Issuer(kid="k1"), Issuer(kid="k2")
    unnamed = f"Bearer {first.token(kid=False)}"
    assert verifier(first).bearer(unnamed)
    assert refusal(verifier(first, second), unnamed).reason == INVALID
    assert refusal(verifier(second), f"Bearer {first.token({'kid': 'k2'})}").reason == INVALID


def part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_says_by_which_algorithm_he_is_believed(kind: str) -> None:
    issuer = Issuer(kind)
    by = verifier(issuer)
    head, claims, signature = issuer.token().split(".")
    for algorithm in ("none", "None", "HS256", "RS512", "PS256", "ES384", "", 7, None):
        forged = part({"alg": algorithm, "kid": "k1", "typ": "JWT"})
        for end in ("", signature):
            assert refusal(by, f"Bearer {forged}.{claims}.{end}").reason == INVALID
    # The public key, which everybody has, as the secret of an HMAC.
    for secret in (issuer.key.as_pem(private=False), json.dumps(issuer.public()).encode()):
        signed = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{claims}"
        tag = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        assert refusal(by, f"Bearer {signed}.{tag}").reason == INVALID
    assert by.bearer(f"Bearer {head}.{claims}.{signature}")


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"jku": "https://x"},
        {"x5u": "https://x"},
        {"typ": "JWE"},
        {"typ": 7},
        {"kid": 7},
        {"kid": "k9"},
    ],
)
def test_a_header_that_wants_more_is_refused(header: dict[str, Any]) -> None:
    issuer = Issuer()
    by = verifier(issuer)
    _, claims, signature = issuer.token().split(".")
    forged = part({"alg": "ES256", "kid": "k1", **header})
    assert refusal(by, f"Bearer {forged}.{claims}.{signature}").reason == INVALID


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
def test_whatever_is_sent_is_refused_and_nothing_else_happens(text: str) -> None:
    issuer = Issuer()
    by = verifier(issuer)
    head, claims, signature = issuer.token().split(".")
    for sent in (text, f"Bearer {text}", f"Bearer {text}.{claims}.{signature}", f"Bearer {head}.{text}.{signature}",
                 f"Bearer {head}.{claims}.{text}"):  # fmt: skip
        error = refusal(by, sent)
        assert error.reason == INVALID
        assert len(text) < 8 or text not in error.cause


def test_no_token_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    by = verifier(issuer)
    with caplog.at_level(logging.DEBUG):
        for _ in range(100):
            refusal(by, issuer.bearer(iss="https://evil.example", sub="secret-subject"))
        by.bearer(issuer.bearer())
    # Once for each cause, however many come.
    assert [record.getMessage() for record in caplog.records] == [
        "tokens: one is refused: the claim iss is lacking or is not ours"
    ]


def test_what_is_remembered_is_bounded() -> None:
    issuer = Issuer()
    by = verifier(issuer, remembered_max=3)
    for number in range(10):
        by.bearer(issuer.bearer(jti=str(number)))
    assert len(by._known) <= 3


@pytest.mark.filterwarnings("ignore:Key size")
def test_keys_that_cannot_be_used_are_said_in_one_line() -> None:
    issuer = Issuer()
    small: Any = RSAKey.generate_key(1024, {"kid": "s"})
    private = issuer.key.as_dict(private=True)
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "o"}
    for text in (
        "{", "[]", "{}", '{"keys": {}}', '{"keys": []}', '{"keys": [7]}', "[" * 100_000,
        json.dumps({"keys": [private]}), json.dumps({"keys": [secret]}),
        json.dumps({"keys": [{**small.as_dict(private=False)}]}),
        json.dumps({"keys": [{**issuer.public(), "use": "enc"}]}),
        json.dumps({"keys": [{**issuer.public(), "alg": "ES384"}]}),
        json.dumps({"keys": [{**issuer.public(), "x": "AAAA"}]}),
        json.dumps({"keys": [issuer.public(), issuer.public()]}),
        json.dumps({"keys": [issuer.public()] * 65}),
    ):  # fmt: skip
        with pytest.raises(TlsError, match=r"^keys\.json: ") as raised:
            read_keys(text, "keys.json")
        assert "\n" not in str(raised.value)
        assert private["d"] not in str(raised.value)


def test_a_list_of_what_is_revoked_names_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "revoked"
    file.write_text("# gone since Monday\njti t7\n\n  sub Mallory Smith  \n")
    assert read_revoked(file) == (frozenset({"t7"}), frozenset({"Mallory Smith"}))
    for text in ("jti", "jti \n", "id 7", "jti=7"):
        file.write_text(f"jti a\n{text}\n")
        with pytest.raises(TlsError, match=r"revoked:2: write "):
            read_revoked(file)
    with pytest.raises(TlsError, match="No such file"):
        read_revoked(tmp_path / "none")
