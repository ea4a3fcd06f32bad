"""Real proxies by files of revoked certificates that are empty or cut off: nobody who was revoked is let in."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bench.cluster.cluster import free_port, wait_for
from fasttree.command.certs.folder import CertificateFolder, PairFiles
from fasttree.command.certs.roles import Holder
from fasttree.command.local.vip_tls import AUTHORITIES, sds_files
from tests.vip.fronts import envoy_program
from tests.vip.test_vip_files import validate_haproxy

DAY = datetime.timedelta(days=1)
WAIT_S = 60.0
#: A listener that lets in who shows a certificate, by the shipped form of the file of authorities.
_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_MANAGER = "envoy.filters.network.http_connection_manager"
_ENVOY = """\
node: {{id: vip, cluster: fasttree}}
static_resources:
  listeners:
    - name: vip
      address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      filter_chains:
        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": {extensions}.transport_sockets.tls.v3.DownstreamTlsContext
              require_client_certificate: true
              disable_stateless_session_resumption: true
              common_tls_context:
                tls_certificates:
                  - certificate_chain: {{filename: {own.certificate}}}
                    private_key: {{filename: {own.key}}}
                validation_context_sds_secret_config:
                  name: authorities
                  sds_config: {{path_config_source: {{path: {sds}}}}}
          filters:
            - name: {manager}
              typed_config:
                "@type": {extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: vip
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{{match: {{prefix: /}}, direct_response: {{status: 200}}}}]
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {{"@type": {extensions}.filters.http.router.v3.Router}}
"""


@pytest.fixture
def certs(tmp_path: Path) -> CertificateFolder:
    """With one certificate that is good, and one that is revoked."""
    folder = CertificateFolder(tmp_path / "certs")
    folder.init("dot-live", DAY)
    authority = folder.authority()
    folder.issue(authority, Holder("vip", "vip"), ["localhost"], DAY)
    for name in ("good", "lost"):
        folder.issue(authority, Holder("reporter", name), [], DAY)
    folder.revoke(authority, [each.serial for each in folder.issued() if each.uri.endswith("/lost")])
    return folder


@contextlib.asynccontextmanager
async def envoy(folder: Path, certs: CertificateFolder, believed: Path) -> AsyncIterator[tuple[int, Path]]:
    """Its port and its log."""
    port, sds, log = free_port(), folder / "sds.yaml", folder / "envoy.log"
    sds.write_text(sds_files(folder, believed)[AUTHORITIES])
    file = folder / "envoy.yaml"
    own = certs.files(Holder("vip", "vip"))
    file.write_text(_ENVOY.format(port=port, own=own, sds=sds, extensions=_EXTENSIONS, manager=_MANAGER))
    options = ("--concurrency", "1", "--disable-hot-restart")
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            envoy_program(), "--config-path", str(file), *options, stdout=said, stderr=said
        )
    try:
        yield port, log
    finally:
        process.terminate()
        await process.wait()


async def is_in(port: int, certs: CertificateFolder, pair: PairFiles) -> bool:
    """Whether whoever shows this certificate is answered. Raises OSError where nobody listens."""
    context = ssl.create_default_context(cafile=str(certs.ca))
    context.load_cert_chain(pair.certificate, pair.key)
    (await asyncio.open_connection("127.0.0.1", port))[1].close()
    try:
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            writer.write(b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
    except OSError:  # TLS' own errors among them
        return False


async def test_envoy_lets_nobody_in_who_is_revoked_whatever_is_cut_off_of_its_file(
    certs: CertificateFolder, tmp_path: Path
) -> None:
    whole, there = certs.believed.read_bytes(), tmp_path / "believed.pem"
    listed, authority = whole.index(b"-----END X509 CRL"), whole.index(b"-----BEGIN CERTIFICATE")
    good, lost = (certs.files(Holder("reporter", name)) for name in ("good", "lost"))
    cuts = {"all of it": 0, "half of the list": listed // 2, "the authority": authority, "half of it": authority + 200}
    there.write_bytes(b"")
    async with envoy(tmp_path, certs, there) as (port, log):

        async def seen() -> tuple[bool, bool]:
            return await is_in(port, certs, good), await is_in(port, certs, lost)

        async def put(content: bytes) -> None:
            """In its place, and looked at; what is bad Envoy tells in its log."""
            told = log.read_text().count("Failed to reload")
            (tmp_path / "new").write_bytes(content)
            (tmp_path / "new").rename(there)

            async def is_looked_at() -> bool:
                return content == whole or log.read_text().count("Failed to reload") > told

            await wait_for(is_looked_at, WAIT_S, "Envoy to look at its file")

        async def listens() -> bool:
            with contextlib.suppress(OSError):
                await is_in(port, certs, good)
                return True
            return False

        await wait_for(listens, WAIT_S, "Envoy to listen")
        assert await seen() == (False, False), "nothing is there yet"

        async def good_is_in() -> bool:
            return await is_in(port, certs, good)

        await put(whole)
        await wait_for(good_is_in, WAIT_S, "whoever is not revoked to be let in")
        assert not await is_in(port, certs, lost)
        for what, left in cuts.items():
            await put(whole[:left])
            assert await seen() == (True, False), f"{what} is cut off: the file before counts on"


@pytest.mark.parametrize("left", [lambda text: b"", lambda text: text[: len(text) // 2]], ids=["empty", "half"])
def test_haproxy_starts_and_reloads_with_no_list_that_is_cut_off(
    certs: CertificateFolder, tmp_path: Path, left: Callable[[bytes], bytes]
) -> None:
    own = certs.files(Holder("vip", "vip"))
    both, file = tmp_path / "both.pem", tmp_path / "haproxy.cfg"
    both.write_bytes(own.certificate.read_bytes() + own.key.read_bytes())
    file.write_text(
        f"defaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\nfrontend vip\n"
        f"  bind 127.0.0.1:{free_port()} ssl crt {both} ca-file {certs.ca} crl-file {certs.revoked} verify required\n"
        "  http-request return status 200\n"
    )
    assert (result := validate_haproxy(file, tmp_path)).returncode == 0, result.stderr
    certs.revoked.write_bytes(left(certs.revoked.read_bytes()))
    assert (result := validate_haproxy(file, tmp_path)).returncode != 0
    assert "crl" in result.stderr.lower()
