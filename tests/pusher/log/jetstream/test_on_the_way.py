"""On the way to a server: TLS, who one is, and what that one may."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.servers.nats_servers import NatsServers, nats_servers
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogEnds, LogStoreError
from tests.jetstream_servers import fresh_settings
from tests.pusher.log.jetstream.conftest import Opener
from tests.pusher.updates import ids_and_contents, orders

#: What docs/operations.md says that the pusher needs, and no more.
_GUARDED = """
tls {{ cert_file: "{folder}/certificate.pem", key_file: "{folder}/key.pem" }}
authorization {{ users: [
  {{ user: fasttree, password: "open sesame", permissions: {{
    publish: ["guarded.*", "$JS.API.STREAM.INFO.guarded", "$JS.API.STREAM.MSG.GET.guarded",
              "$JS.API.STREAM.PURGE.guarded", "$JS.API.DIRECT.GET.guarded", "$JS.API.STREAM.CREATE.guarded"],
    subscribe: ["_INBOX.>"]
  }} }}
] }}
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key.pem",
            "-out", folder / "certificate.pem",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "password").write_text("open sesame\n")
    return folder


@pytest.fixture(scope="module")
def guarded(certificate: Path) -> Iterator[NatsServers]:
    with nats_servers(count=1, more=_GUARDED.format(folder=certificate)) as made:
        yield made


@pytest.fixture
def settings(guarded: NatsServers, certificate: Path) -> LogSettings:
    """By TLS, with the password of a user that may no more than it needs."""
    made = fresh_settings(
        guarded,
        nats_stream="guarded",
        nats_replicas=1,
        nats_ca_file=str(certificate / "certificate.pem"),
        nats_password_file=str(certificate / "password"),
        nats_patience_s=0.5,
    )
    return msgspec.structs.replace(made, log_url=guarded.url.replace("nats://", "nats://fasttree@"))


def with_options(settings: LogSettings, **options: object) -> LogSettings:
    return msgspec.structs.replace(settings, jetstream=msgspec.structs.replace(settings.jetstream, **options))


def test_all_of_it_is_done_with_what_the_page_says_is_needed(opened: Opener) -> None:
    store = opened().claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    assert store.trim(11, 100) == 10
    store.try_room()
    store.adopt(store.log_id, [], "as a test")
    assert opened().ends() == LogEnds(11, 20)
    promise = store.durability()
    assert not promise.survives_machine_loss
    assert "the stream has one replica" in promise.description


def test_who_is_not_let_in_is_told_why(opened: Opener, settings: LogSettings, certificate: Path) -> None:
    (certificate / "wrong").write_text("abracadabra\n")
    refused = {
        "authorization": with_options(settings, nats_password_file=str(certificate / "wrong")),
        "certificate": with_options(settings, nats_ca_file=""),
        "can't be used": with_options(settings, nats_ca_file="/nowhere"),
        "file for the connection": with_options(settings, nats_credentials_file="/nowhere"),
    }
    for words, wrong in refused.items():
        with pytest.raises(LogStoreError, match=rf"(?i){words}") as error:
            opened(wrong)
        assert "abracadabra" not in str(error.value)
        assert "sesame" not in str(error.value)


def test_what_the_user_may_not_is_told(opened: Opener, settings: LogSettings) -> None:
    with pytest.raises(LogStoreError, match=r"(?i)needs more rights: .*STREAM\.INFO\.another"):
        opened(with_options(settings, nats_stream="another"))
