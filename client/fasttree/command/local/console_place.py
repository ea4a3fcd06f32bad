"""Where the console of a cluster on this machine is, and what an operator opens in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fasttree.command.local.certificates import is_loopback
from fasttree.command.local.free_ports import free_ports, is_free
from fasttree.command.session import CommandError

CONSOLE_PORT: Final = 50500


@dataclass(frozen=True, kw_only=True)
class ConsolePlace:
    """Its port, and the file of the key that operators show."""

    host: str
    port: int
    #: None: whoever reaches the port operates, as he could by the cluster's other ports.
    key_file: Path | None
    #: Nobody asked for this port.
    any_port: bool = False

    def when_starting(self) -> ConsolePlace:
        """The same, but for a port that nobody asked for and somebody has taken since. Raises OSError."""
        if not self.any_port or is_free(self.host, self.port):
            return self
        return replace(self, port=free_ports(self.host, 1)[0])

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    def settings(self) -> Iterator[str]:
        """Those that are the place's own."""
        yield f"console.listen_host={self.host}"
        yield f"console.port={self.port}"
        if self.key_file is not None:
            yield f"console.key_file={self.key_file}"

    def page(self) -> str:
        """What to open: with the key in the part of an address that no server is told. Raises CommandError. Blocks."""
        scheme = "http" if is_loopback(self.host) or self.key_file is None else "https"
        address = f"{scheme}://{self.address}/"
        if self.key_file is None:
            return address
        try:
            return f"{address}#key={self.key_file.read_text(encoding='ascii').strip()}"
        except (OSError, ValueError) as error:
            raise CommandError(f"the console's key can't be read: {error}; remove the file, and start again") from None


def console_place(host: str, asked_port: int | None, state: Path, *, by_tls: bool) -> ConsolePlace:
    """`asked_port`: None takes 50500, or a free one where something is there. Raises CommandError where the asked one
    is taken, OSError where none is free."""
    port = CONSOLE_PORT if asked_port is None else asked_port
    if not is_free(host, port):
        if asked_port is not None:
            raise CommandError(f"port {port} on {host} is in use; give another one with --console-port")
        port = free_ports(host, 1)[0]
    has_key = by_tls or not is_loopback(host)
    return ConsolePlace(host=host, port=port, key_file=state / "key" if has_key else None, any_port=asked_port is None)
