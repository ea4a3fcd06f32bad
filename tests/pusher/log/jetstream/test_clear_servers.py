"""What is meant for an encrypted connection never goes over another one, whatever a server says that it asks for."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from services.pusher.log.jetstream.connecting import AwayError, Connection
from services.pusher.log.jetstream.settings import JetstreamSettings
from tests.shared.http2.certificates import Authority

_INFO = (
    b'INFO {"server_id":"x","server_name":"x","version":"2.12.0","proto":1,"max_payload":1048576,"headers":true}\r\n'
)


@pytest.mark.parametrize("by", ["the address", "the authorities"])
def test_a_server_that_does_not_encrypt_hears_no_password(by: str, tmp_path: Path) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(_INFO)
                while data := connection.recv(4096):
                    heard.append(data)

        serving = threading.Thread(target=serve)
        serving.start()
        (tmp_path / "password").write_text("known-to-us-alone\n")
        scheme = "tls" if by == "the address" else "nats"
        authorities = "" if by == "the address" else str(Authority(tmp_path / "authority").root)
        settings = JetstreamSettings(nats_password_file=str(tmp_path / "password"), nats_ca_file=authorities)
        connection = Connection(f"{scheme}://ft@127.0.0.1:{listening.getsockname()[1]}", settings)
        with pytest.raises(AwayError, match="does not encrypt"):
            connection.connect()
        connection.close()
        serving.join()
    assert heard == []


def test_a_server_that_refuses_costs_no_wait() -> None:
    """It is told as it is, and at once: a pusher passes over it to the next one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    connection = Connection(f"nats://127.0.0.1:{port}", JetstreamSettings(nats_connect_timeout_s=600.0))
    with pytest.raises(AwayError, match="refused"):
        connection.connect()
    connection.close()
