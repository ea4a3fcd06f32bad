"""The files of a certificate: what is good, what is refused, and what is used once they are renewed."""

from __future__ import annotations

import datetime
import logging
import os
import shutil
from pathlib import Path

import pytest

from services.shared.security.following import Tls
from services.shared.security.settings import TlsError, TlsSettings
from tests.shared.http2.certificates import Authority

LATER = datetime.timedelta(days=400)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def lay_out(folder: Path, authority: Authority, name: str = "n1", role: str = "node") -> TlsSettings:
    """As cert-manager does."""
    made = authority.signed(name, f"DNS:localhost,IP:127.0.0.1,URI:spiffe://dot-test/{role}/{name}")
    folder.mkdir(exist_ok=True)
    for path, file in ((made.chain, "tls.crt"), (made.key, "tls.key"), (authority.root, "ca.crt")):
        shutil.copy(path, folder / f"{file}.new")
        os.replace(folder / f"{file}.new", folder / file)
    return TlsSettings(mode="mutual", folder=str(folder))


def test_what_is_renewed_is_used(tmp_path: Path, authority: Authority) -> None:
    tls = Tls(lay_out(tmp_path / "tls", authority))
    assert tls.identity.uris == ("spiffe://dot-test/node/n1",)
    assert 0 < tls.expires_in_s <= 2 * 86_400
    assert not tls.look()
    before = tls.server_context()
    lay_out(tmp_path / "tls", authority, "n2")
    assert tls.look()
    assert tls.identity.uris == ("spiffe://dot-test/node/n2",)
    assert tls.server_context() is not before
    assert not tls.look()


def test_a_bad_pair_is_told_once_and_the_one_before_serves_on(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "tls"
    tls = Tls(lay_out(folder, authority))
    good = tls.identity
    shutil.copy(authority.signed("other").key, folder / "tls.key")
    with caplog.at_level(logging.INFO):
        assert not any([tls.look(), tls.look(), tls.look(), tls.look()])
    assert tls.identity is good
    (said,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert f"{folder / 'tls.key'}: it is not the key of {folder / 'tls.crt'}" in said
    assert "goes on with the certificate that is good until" in said
    assert [f"TLS: {problem}" for problem in tls.problems] == [said]
    lay_out(folder, authority)
    assert tls.look()
    assert tls.problems == []


def test_files_that_are_put_back_as_they_were_are_told(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "tls"
    tls = Tls(lay_out(folder, authority))
    folder.rename(tmp_path / "away")
    assert not any([tls.look(), tls.look()])
    (problem,) = tls.problems
    assert "can't read it" in problem
    (tmp_path / "away").rename(folder)
    with caplog.at_level(logging.INFO):
        assert not tls.look()
    assert tls.problems == []
    assert "can be used again" in caplog.text


def test_between_the_renewals_of_its_two_files_nothing_is_told(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "tls"
    tls = Tls(lay_out(folder, authority))
    other = authority.signed("other")
    shutil.copy(other.key, folder / "tls.key")
    assert not tls.look()
    shutil.copy(other.chain, folder / "tls.crt")
    assert tls.look()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("tls.crt", None, "can't read it"),
        ("tls.crt", "no certificate", "there is no certificate in it"),
        ("tls.key", "no key", "there is no certificate, or no key"),
        ("tls.key", None, "can't read it"),
        ("ca.crt", "no authority", "ca.crt"),
        ("ca.crt", None, "can't read it"),
    ],
)
def test_what_can_not_be_used_is_named(
    tmp_path: Path, authority: Authority, file: str, content: str | None, why: str
) -> None:
    settings = lay_out(tmp_path / "tls", authority)
    path = tmp_path / "tls" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(TlsError) as raised:
        Tls(settings)
    assert why in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_key_with_a_password_is_refused_at_once(tmp_path: Path, authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization

    settings = lay_out(tmp_path / "tls", authority)
    key = serialization.load_pem_private_key((tmp_path / "tls/tls.key").read_bytes(), None)
    (tmp_path / "tls/tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(TlsError, match="has a password"):
        Tls(settings)


@pytest.mark.parametrize(("moved", "why"), [(LATER, "it has expired"), (-LATER, "is this machine's clock right")])
def test_dates_are_looked_at(tmp_path: Path, authority: Authority, moved: datetime.timedelta, why: str) -> None:
    settings = lay_out(tmp_path / "tls", authority)
    with pytest.raises(TlsError, match=why):
        Tls(settings, lambda: datetime.datetime.now(datetime.UTC) + moved)
