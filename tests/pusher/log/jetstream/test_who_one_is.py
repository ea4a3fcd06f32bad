"""The other two ways to say who one is: a certificate of one's own, and the credentials that an operator has signed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import nkeys
import pytest

from bench.servers.nats_servers import NatsServers, nats_servers
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogEnds, LogStoreError
from tests.jetstream_servers import fresh_settings
from tests.pusher.log.jetstream.conftest import Opener
from tests.pusher.updates import ids_and_contents, orders

_BY_CERTIFICATE = """
tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.key", ca_file: "{folder}/ca.pem",
       verify_and_map: true }}
authorization {{ users: [ {{ user: "CN=fasttree" }} ] }}
"""
_LIMITS = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1) | {"wildcards": True}
#: An account that may keep streams, as large as they get; the system's own may not.
_STREAMS = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate of it, the pusher's, and one of a stranger whom it vouches for too."""
    folder = tmp_path_factory.mktemp("certificates")
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
        "-keyout", folder / "ca.key", "-out", folder / "ca.pem",
    )  # fmt: skip
    for name, subject in (("server", "localhost"), ("pusher", "fasttree"), ("stranger", "stranger")):
        (folder / "extension").write_text("subjectAltName=IP:127.0.0.1\n" if name == "server" else "")
        _openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={subject}",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr",
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", folder / "extension", "-out", folder / f"{name}.pem",
        )  # fmt: skip
    return folder


def with_options(settings: LogSettings, **options: object) -> LogSettings:
    return msgspec.structs.replace(settings, jetstream=msgspec.structs.replace(settings.jetstream, **options))


def is_used(opened: Opener, settings: LogSettings) -> None:
    """Written, read, and opened once more."""
    store = opened(settings).claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    assert store.trim(11, 100) == 10
    assert opened(settings).ends() == LogEnds(11, 20)


def test_a_certificate_says_who_the_pusher_is(certificates: Path, opened: Opener) -> None:
    with nats_servers(count=1, more=_BY_CERTIFICATE.format(folder=certificates)) as servers:
        settings = fresh_settings(
            servers,
            nats_replicas=1,
            nats_ca_file=str(certificates / "ca.pem"),
            nats_certificate_file=str(certificates / "pusher.pem"),
            nats_key_file=str(certificates / "pusher.key"),
            nats_patience_s=0.5,
        )
        is_used(opened, settings)
        wrong = {
            "none": {"nats_certificate_file": "", "nats_key_file": ""},
            "a stranger's": {
                "nats_certificate_file": str(certificates / "stranger.pem"),
                "nats_key_file": str(certificates / "stranger.key"),
            },
            "another's key": {"nats_key_file": str(certificates / "stranger.key")},
        }
        for options in wrong.values():
            with pytest.raises(LogStoreError, match=r"127\.0\.0\.1|can't be used"):
                opened(with_options(settings, **options))


def _pair(prefix: int) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), prefix))


def _signed(by: nkeys.KeyPair, subject: nkeys.KeyPair, name: str, claims: dict[str, object]) -> str:
    """A token as `nsc` makes them."""
    body = {
        "jti": base64.b32encode(os.urandom(32)).decode().strip("="), "iat": 1_700_000_000, "name": name,
        "iss": by.public_key.decode(), "sub": subject.public_key.decode(), "nats": {"version": 2, **claims},
    }  # fmt: skip

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).decode().rstrip("=")

    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
    return f"{text}.{encoded(by.sign(text.encode()))}"


def _credentials(user: nkeys.KeyPair, token: str) -> str:
    lines = []
    for what, text in (("NATS USER JWT", token), ("USER NKEY SEED", user.seed.decode())):
        lines += [f"-----BEGIN {what}-----", text, f"------END {what}------", ""]
    return "\n".join(lines)


@pytest.fixture
def signed_for(tmp_path: Path) -> Iterator[tuple[NatsServers, Path, Path]]:
    """A server that takes whom an account of its operator has signed for; such credentials, and a stranger's."""
    operator, account, system, user, stranger = (
        _pair(prefix)
        for prefix in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
            nkeys.PREFIX_BYTE_ACCOUNT,
        )
    )
    system_id, account_id = system.public_key.decode(), account.public_key.decode()
    (tmp_path / "operator.jwt").write_text(
        _signed(operator, operator, "op", {"type": "operator", "system_account": system_id})
    )
    tokens = {
        account_id: _signed(operator, account, "company", {"type": "account", "limits": _LIMITS | _STREAMS}),
        system_id: _signed(operator, system, "SYS", {"type": "account", "limits": _LIMITS}),
    }
    preloaded = ", ".join(f'{each}: "{token}"' for each, token in tokens.items())
    more = (
        f'operator: "{tmp_path}/operator.jwt"\nsystem_account: {system_id}\n'
        f"resolver: MEMORY\nresolver_preload: {{ {preloaded} }}\n"
    )
    paths = []
    for name, signer in (("pusher", account), ("stranger", stranger)):
        paths.append(tmp_path / f"{name}.creds")
        claims = {"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}}
        paths[-1].write_text(_credentials(user, _signed(signer, user, name, claims)))
    with nats_servers(count=1, more=more) as servers:
        yield servers, paths[0], paths[1]


def test_credentials_that_an_operator_has_signed_say_who_the_pusher_is(
    signed_for: tuple[NatsServers, Path, Path], opened: Opener
) -> None:
    servers, own, strangers = signed_for
    settings = fresh_settings(servers, nats_replicas=1, nats_credentials_file=str(own), nats_patience_s=0.5)
    is_used(opened, settings)
    for options in ({"nats_credentials_file": ""}, {"nats_credentials_file": str(strangers)}):
        with pytest.raises(LogStoreError, match=r"(?i)authorization") as error:
            opened(with_options(settings, **options))
        assert "eyJ" not in str(error.value)
        assert "SU" not in str(error.value)
