"""An identity that follows its files: what is renewed is used from the next connection on; what is bad is told, once,
and the one before serves on."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import grpc

from services.shared.security.guard import Guard
from services.shared.security.identity import HTTP1, HTTP2, Identity, TlsFiles
from services.shared.security.policy import Policy
from services.shared.security.policy_in_force import PolicyInForce
from services.shared.security.revoked import Revoked
from services.shared.security.roles import shipped_policy
from services.shared.security.settings import TlsError, TlsSettings
from services.shared.security.stamps import Stamp, stamp

if TYPE_CHECKING:
    from services.shared.security.tokens.following import Tokens

logger = logging.getLogger(__name__)

_SPIFFE: Final = "spiffe://"
_Stamps = tuple[Stamp, ...]


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Tls:
    """This process's identity, whatever it is at the time. Any thread may ask.

    Args:
        tokens: What the guard knows callers' tokens by; None: it takes none.

    Raises:
        TlsError: The files can't be used.
    """

    def __init__(
        self,
        settings: TlsSettings,
        now: Callable[[], datetime.datetime] = _utc_now,
        tokens: Tokens | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self.files = TlsFiles(settings.certificate_path, settings.key_path, settings.ca_path)
        self._stamps = self._look()
        #: What was bad at the last look. A pair is two files: between their renewals they don't match.
        self._bad: _Stamps | None = None
        self._problem = ""
        self.without_certificate = tokens is not None and tokens.settings.without_certificate
        self.identity = self._read()
        self._policy = PolicyInForce(settings.policy, self._shipped_policy)
        self._revoked = Revoked(settings.revoked_file, lambda: self.identity.contents.ca, now)
        self.guard = Guard(lambda: self._policy.now, tokens, self._revoked, name_needed=self.without_certificate)
        logger.info("TLS: this is %s, by a certificate that is good until %s", self._names(), self._until())

    def server_context(self) -> Any:
        """For a connection that comes now to a server of HTTP/2."""
        return self.identity.server_context(HTTP2)

    def http_context(self) -> Any:
        """The same of HTTP/1, where a certificate may be lacking."""
        return self.identity.server_context(HTTP1)

    def server_credentials(self) -> grpc.ServerCredentials:
        """For grpcio's server, which asks at each connection whether there is another pair."""
        used = self.identity

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal used
            now = self.identity
            if now is used:
                return None
            used = now
            return _configuration(now)

        # None says that nothing has changed, which types-grpcio does not know.
        fetcher: Any = fetch
        return grpc.dynamic_ssl_server_credentials(_configuration(used), fetcher, require_client_authentication=True)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a channel that is opened now."""
        contents = self.identity.contents
        return grpc.ssl_channel_credentials(contents.ca, contents.key, contents.certificate)

    def server_name(self, host: str) -> str:
        """What the certificate of a server that is dialled by that host must say."""
        return self._settings.server_name or host

    @property
    def channel_options(self) -> list[tuple[str, str]]:
        """What a channel needs for that."""
        name = self._settings.server_name
        return [("grpc.ssl_target_name_override", name)] if name else []

    @property
    def expires_in_s(self) -> float:
        """Until the certificate is good no more; less than 0 from then on."""
        return (self.identity.expires - self._now()).total_seconds()

    async def run(self) -> None:
        """Follows the files."""
        while True:
            await asyncio.sleep(self._settings.reload_s)
            await asyncio.to_thread(self.look)
            await asyncio.to_thread(self.look_at_policy)
            await asyncio.to_thread(self.look_at_revoked)

    @property
    def problems(self) -> list[str]:
        """What is wrong with its files as they are now, a line each: it goes by what was there before."""
        return [each for each in (self._problem, self._policy.problem, self._revoked.problem) if each]

    @property
    def policy(self) -> Policy:
        """The one in force."""
        return self._policy.now

    def look_at_policy(self) -> bool:
        """Whether another policy is in force since. Blocks: it reads the disk."""
        return self._policy.look()

    def look_at_revoked(self) -> bool:
        """Whether other certificates are revoked since. Blocks: it reads the disk."""
        return self._revoked.look()

    def _read(self) -> Identity:
        return Identity(self.files, self._settings.minimum_version, self._now(), self.without_certificate)

    def _shipped_policy(self) -> Policy:
        """Of the cluster in the certificate. Raises TlsError."""
        for uri in self.identity.uris:
            if uri.startswith(_SPIFFE):
                return shipped_policy(uri.removeprefix(_SPIFFE).partition("/")[0])
        raise TlsError(
            f"{self.files.certificate}: it has no name {_SPIFFE}CLUSTER/ROLE/NAME, by which the shipped roles go: "
            "issue one that has, or name a policy of your own in tls.policy"
        )

    def look(self) -> bool:
        """Whether another identity is in force since. Blocks: it reads the disk."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        try:
            found = self._read()
        except TlsError as error:
            if stamps == self._bad:  # it stays so
                self._stamps = stamps
                self._problem = f"{error}; goes on with the certificate that is good until {self._until()}"
                logger.error("TLS: %s", self._problem)
            self._bad = stamps
            return False
        self._stamps, had_problem = stamps, bool(self._problem)
        self._problem = ""
        if found.contents == self.identity.contents:
            if had_problem:
                logger.info("TLS: the files of the certificate can be used again")
            return False
        self.identity = found
        logger.info("TLS: another certificate for %s, good until %s", self._names(), self._until())
        return True

    def _names(self) -> str:
        return " ".join(self.identity.uris) or "a name without spiffe://"

    def _until(self) -> str:
        return f"{self.identity.expires:%Y-%m-%d %H:%M:%S} UTC"

    def _look(self) -> _Stamps:
        return tuple(stamp(path) for path in self.files)


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    contents = identity.contents
    return grpc.ssl_server_certificate_configuration([(contents.key, contents.certificate)], contents.ca)
