"""A client's certificate: where it is found, what is refused, and one that is renewed while calls are under way."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.client import Client, Endpoints, EndpointsError, TlsFiles, TlsFilesError
from fasttree.client.calls import tls
from fasttree.client.calls.reopening import ReopeningChannel
from fasttree.client.calls.tls import Credentials
from fasttree.command.certs.authority import Authority
from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from tests.waiting import until

DAY = datetime.timedelta(days=1)
REPORTER = Holder("reporter", "reporter")


@pytest.fixture
def folder(tmp_path: Path) -> CertificateFolder:
    made = CertificateFolder(tmp_path / "certs")
    made.init("dot-test", DAY)
    made.issue(made.authority(), REPORTER, (), DAY)
    return made


@pytest.fixture
def authority(folder: CertificateFolder) -> Authority:
    return folder.authority()


def files_of(folder: CertificateFolder) -> TlsFiles:
    return TlsFiles.in_folder(folder.path / "client-reporter")


def test_a_folder_and_a_pair_beside_an_authority_are_found(folder: CertificateFolder, authority: Authority) -> None:
    folder.issue(authority, Holder("pusher", "pusher"), ["localhost"], DAY)
    whole = TlsFiles.in_folder(folder.path / "pusher/pusher")
    assert whole.certificate.endswith("pusher/pusher/tls.crt")
    assert whole.ca.endswith("pusher/pusher/ca.crt")
    pair = files_of(folder)
    assert pair.certificate.endswith("certs/client-reporter.crt")
    assert pair.ca == str(folder.ca)
    with pytest.raises(TlsFilesError, match=r"tls\.crt is not there: name a folder"):
        TlsFiles.in_folder(folder.path / "nobody")


async def test_who_says_it_first_is_heard(
    folder: CertificateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"certificate": "certs/a.crt", "key": "certs/a.key", "ca": "certs/ca.crt"}
    (tmp_path / "endpoints.json").write_text(json.dumps({"vip": "localhost:1", "tls": named}))
    endpoints = Endpoints.read(tmp_path / "endpoints.json")
    assert endpoints.tls is not None
    assert endpoints.tls.certificate == str(tmp_path / "certs/a.crt")
    assert Client(endpoints).tls == endpoints.tls
    monkeypatch.setenv(tls.VARIABLE, str(folder.path / "client-reporter"))
    assert Client(endpoints).tls == files_of(folder)
    assert Client(endpoints, tls=endpoints.tls).tls == endpoints.tls
    endpoints.write(tmp_path / "again.json")
    assert Endpoints.read(tmp_path / "again.json") == endpoints


@pytest.mark.parametrize("wrong", ["x", {"certificate": "a"}, {"certificate": 1, "key": "k", "ca": "c"}, [1]])
def test_an_endpoints_file_names_all_three(tmp_path: Path, wrong: object) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps({"tls": wrong}))
    with pytest.raises(EndpointsError, match="tls must"):
        Endpoints.read(tmp_path / "endpoints.json")


def test_files_that_can_not_be_used_are_named(folder: CertificateFolder, authority: Authority) -> None:
    good = files_of(folder)
    other = folder.issue(authority, Holder("leader", "leader"), (), DAY)
    late = folder.issue(authority, Holder("operator", "late"), (), datetime.timedelta(seconds=-1))
    for files, why in (
        (TlsFiles(certificate=good.certificate, key=str(other.key), ca=good.ca), "is not the key of"),
        (TlsFiles(certificate=str(late.certificate), key=str(late.key), ca=good.ca), "has expired"),
        (TlsFiles(certificate=good.key, key=good.key, ca=good.ca), "no certificate"),
        (TlsFiles(certificate=good.certificate, key=good.certificate, ca=good.ca), "no key"),
        (TlsFiles(certificate=good.certificate, key=good.key, ca=good.key), "no certificate"),
        (TlsFiles(certificate="/nowhere", key=good.key, ca=good.ca), "/nowhere can't be read"),
    ):
        with pytest.raises(TlsFilesError, match=why):
            Credentials(files)


@pytest.fixture
async def address(folder: CertificateFolder, authority: Authority) -> AsyncIterator[str]:
    """A server that streams numbers, one each time it is asked for one more."""
    pair = folder.issue(authority, Holder("pusher", "pusher"), ["localhost"], DAY)

    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        serial = context.auth_context()["x509_pem_cert"][0]
        async for _ in requests:
            yield serial

    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Echo": grpc.stream_stream_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    credentials = grpc.ssl_server_credentials(
        [(pair.key.read_bytes(), pair.certificate.read_bytes())], folder.ca.read_bytes(), require_client_auth=True
    )
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    yield f"localhost:{port}"
    await server.stop(0)


async def test_a_renewed_certificate_has_a_new_connection_and_streams_finish_on_the_old_one(
    folder: CertificateFolder, authority: Authority, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_S", 0.0)
    async with asyncio.timeout(60), ReopeningChannel(address, Credentials(files_of(folder)), ()) as channel:
        method = channel.stream_stream("/test/Echo")
        before = method()
        await before.write(b"1")
        first = await before.read()
        assert first == Path(files_of(folder).certificate).read_bytes()
        folder.issue(authority, REPORTER, (), DAY)
        after = method()
        await after.write(b"1")
        second = await after.read()
        assert second == Path(files_of(folder).certificate).read_bytes()
        assert second != first
        await before.write(b"2")
        assert await before.read() == first
        await before.done_writing()
        assert await before.read() is grpc.aio.EOF
        await until(lambda: not channel._old, "the old connection's end")
        await after.done_writing()


async def test_a_bad_pair_changes_nothing(
    folder: CertificateFolder, authority: Authority, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_S", 0.0)
    async with asyncio.timeout(60), ReopeningChannel(address, Credentials(files_of(folder)), ()) as channel:
        Path(files_of(folder).key).write_text("damaged")
        call = channel.stream_stream("/test/Echo")()
        await call.write(b"1")
        assert await call.read() == Path(files_of(folder).certificate).read_bytes()
        await call.done_writing()
