"""Where the API server is and who this pod is to it: what Kubernetes puts into every pod that has a service account."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

from services.shared.config.load import SettingsError
from services.shared.config.text_file import read_text_file
from services.shared.domain.addresses import address_of

#: A token is a few KiB, a bundle of certificates some hundred.
_BYTES_MAX = 1 << 20
#: A token is changed long before it ends: it is read anew this often, in seconds.
_READ_AGAIN_S = 10.0
_MEND = "the pod needs a service account whose token is mounted (automountServiceAccountToken: true)"


class AccessError(Exception):
    """What the pod should have been given can't be read: one line."""


def api_server(environment: Mapping[str, str] = os.environ) -> str:
    """The URL of the API server that this pod belongs to. Raises SettingsError outside of a pod."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not port.isdecimal():
        raise SettingsError(
            "this is no pod of a Kubernetes cluster: the environment has no KUBERNETES_SERVICE_HOST and "
            "KUBERNETES_SERVICE_PORT; leave cluster.nodes_service empty, and coordinator.store as sqlite"
        )
    return f"https://{address_of(host, int(port))}"


class ServiceAccount:
    """The pod's token, certificates and namespace; read anew as they change.

    Args:
        folder: Where they are mounted. Its files are small and in memory: reading them holds nobody up.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = ""
        self._read_at_s = float("-inf")
        self._certificates = ""
        self._context: ssl.SSLContext | None = None

    @property
    def namespace(self) -> str:
        """The pod's namespace. Raises AccessError."""
        return self._read("namespace")

    def token(self, *, anew: bool = False) -> str:
        """The token as it is now, at most some seconds old. `anew`: it was refused. Raises AccessError."""
        now_s = time.monotonic()
        if anew or now_s - self._read_at_s >= _READ_AGAIN_S:
            self._token, self._read_at_s = self._read("token"), now_s
        return self._token

    def certificates(self) -> ssl.SSLContext:
        """What the API server's certificate is checked by. Raises AccessError."""
        text = self._read("ca.crt")
        if self._context is None or text != self._certificates:
            try:
                self._context = ssl.create_default_context(cadata=text)
            except (ssl.SSLError, ValueError) as error:
                raise AccessError(f"{self._folder / 'ca.crt'} has no certificates: {_MEND}") from error
            self._certificates = text
        return self._context

    def _read(self, name: str) -> str:
        path = self._folder / name
        try:
            text = read_text_file(path, _BYTES_MAX).strip()
        except OSError as error:
            raise AccessError(f"{path}: {error}: {_MEND}") from error
        if not text:
            raise AccessError(f"{path} is empty: {_MEND}")
        return text
