"""Where `fasttree up` puts the console."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fasttree.command.local.console_place import console_place
from fasttree.command.local.free_ports import free_ports
from fasttree.command.session import CommandError

HOST = "127.0.0.1"


def test_a_port_that_somebody_took_meanwhile_is_left_to_him(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_ports(HOST, 1)[0]
    monkeypatch.setattr("fasttree.command.local.console_place.CONSOLE_PORT", port)
    chosen = console_place(HOST, None, tmp_path, by_tls=False)
    assert (chosen.port, chosen.page()) == (port, f"http://{HOST}:{port}/")
    assert chosen.when_starting() == chosen
    with socket.create_server((HOST, port)):
        assert chosen.when_starting().port != port
        assert console_place(HOST, None, tmp_path, by_tls=False).port != port
        with pytest.raises(CommandError, match="--console-port"):
            console_place(HOST, port, tmp_path, by_tls=False)


def test_by_certificates_the_page_is_opened_with_the_key(tmp_path: Path) -> None:
    place = console_place(HOST, free_ports(HOST, 1)[0], tmp_path, by_tls=True)
    (tmp_path / "key").write_text("abc\n")
    assert place.page() == f"http://{place.address}/#key=abc"
    assert f"console.key_file={tmp_path / 'key'}" in list(place.settings())
