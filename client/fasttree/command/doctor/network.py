"""The ways to the cluster: names, ports, certificates, clocks."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509

from fasttree.client import Client, Endpoints, TlsFilesError
from fasttree.client.calls.pages import PageError, Pages
from fasttree.client.calls.pem import UNREADABLE
from fasttree.command.doctor.findings import Finding

_CONNECT_S = 3.0
#: A header's time has whole seconds, and the answer a way.
_CLOCK_S = 5.0
#: As the alert FastTreeCertificateSoonOver has it.
_SOON_OVER = datetime.timedelta(days=7)


def places(endpoints: Endpoints) -> Iterator[tuple[str, str]]:
    """(part, host:port) of all gRPC ports that the endpoints file names."""
    for part in ("coordinator", "pusher", "vip"):
        for address in filter(None, getattr(endpoints, part).split(",")):
            yield part, address
    for node in endpoints.nodes:
        yield from ((node.name, address) for address in (node.report, node.instant) if address)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


async def names(endpoints: Endpoints) -> AsyncIterator[Finding]:
    """Each host that is named has an address."""
    loop = asyncio.get_running_loop()
    for host in dict.fromkeys(_split(address)[0] for _, address in places(endpoints)):
        try:
            async with asyncio.timeout(_CONNECT_S):
                await loop.getaddrinfo(host, None)
        except (OSError, TimeoutError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "nobody answers"
            mend = "mend its name in the endpoints file, or give it one in DNS or /etc/hosts"
            yield Finding(check="names", text=f"the name {host} leads nowhere: {why}", mend=mend)


async def ports(endpoints: Endpoints) -> AsyncIterator[Finding]:
    """Whoever is named listens; by TLS, with a certificate of his own name that we believe."""
    context: ssl.SSLContext | None = None
    if endpoints.tls is not None:
        try:
            context = endpoints.tls.context()
            context.set_alpn_protocols(["h2"])
        except TlsFilesError:  # told by `own_certificate`
            return
    for part, address in places(endpoints):
        host, port = _split(address)
        server_name = (endpoints.tls.server_name or host) if endpoints.tls is not None else None
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=server_name)
            writer.close()
        except ssl.SSLCertVerificationError as error:
            text = f"the certificate of {part} at {address} is not believed: {error.verify_message}"
            mend = "issue one for that name (`fasttree certs issue`), or name its authority in the endpoints file"
            yield Finding(check="certificates", text=text, mend=mend)
        except ssl.SSLError as error:
            text = f"{part} at {address} speaks no TLS with this certificate: {error.reason or error}"
            yield Finding(check="certificates", text=text, mend="another program's port, or another authority")
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or f"no answer within {_CONNECT_S:g} s"
            text = f"nobody listens for {part} at {address}: {why}"
            mend = "start it, look at its log; or mend its address in the endpoints file, or the firewall between"
            yield Finding(check="ports", text=text, mend=mend, alert="FastTreeServiceDown")


async def own_certificate(endpoints: Endpoints) -> AsyncIterator[Finding]:
    """The one that this user shows can be used, for a while yet."""
    if endpoints.tls is None:
        return
    mend = "renew it: `fasttree certs renew`"
    try:
        endpoints.tls.context()
        for path in filter(None, (endpoints.tls.certificate, endpoints.tls.ca)):
            for found in await asyncio.to_thread(_certificates, path):
                left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
                if left < _SOON_OVER:
                    over = "is over" if left < datetime.timedelta() else f"is good for {left.days} days more"
                    text = f"{path} {over} ({found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC)"
                    yield Finding(check="certificates", text=text, mend=mend, alert="FastTreeCertificateSoonOver")
    except (TlsFilesError, OSError, *UNREADABLE) as error:
        yield Finding(check="certificates", text=str(error), mend="name files that are there, or issue them anew")


def _certificates(path: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(Path(path).read_bytes())


async def clocks(client: Client, http_ports: dict[str, str]) -> AsyncIterator[Finding]:
    """Each service's clock beside this machine's: leases need none, but tokens, certificates and ages do."""
    pages = Pages(client.tls, client.token)
    for part, address in http_ports.items():
        try:
            said = parsedate_to_datetime(await pages.date(address))
        except (PageError, ValueError):
            continue  # who does not answer is told elsewhere
        ahead_s = (said - datetime.datetime.now(datetime.UTC)).total_seconds()
        if abs(ahead_s) > _CLOCK_S:
            text = f"the clock of {part} is {abs(ahead_s):.0f} s {'before' if ahead_s > 0 else 'behind'} this machine's"
            yield Finding(
                check="clocks", text=text, mend="have both follow one time server: `timedatectl set-ntp true`"
            )
