"""Odd values for every field of every section, by each way that a value can come: all are refused, in one line that
names the place, the field and the mend; nothing is a traceback."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest

from services.shared.config.bounds import items_of
from services.shared.config.load import SettingsError, load_settings
from services.shared.config.sections import SECTIONS as NAMES
from services.shared.config.sections import Field, fields_of, value_of
from tests.shared.sections import SECTIONS

NUMBERS = ("text", "", True, [1], {"a": 1}, math.nan, math.inf, -math.inf, 10**30, -(10**30), -1)
TEXTS = (5, 1.5, True, ["x"], {"a": 1}, "x" * 5_000, "two\nlines", "nul\0", "tab\t")
LISTS: tuple[Any, ...] = ("text", 5, True, {"a": 1}, [5], [""], [[]], ["two\nlines"], ["x" * 5_000])
ODD_TEXTS = {
    "cluster.coordinator": (
        *("host", "host:", ":1", "host:0", "host:65536", "a:b:1", "::1:50400", "host:50400 "),
        *("http://host:50400", "[::1]", "[host]:1", "a,b:1", "host:５"),
    ),
    "cluster.name": ("dot live", "é", "x" * 65),
    "cluster.nodes_service": ("Nodes", "nodes-", "-nodes", "nodes.fasttree", "nodes:50100", "x" * 64, "é"),
    "cluster.periods": ("2026-13", "2026-00", "0000-01", "26-11", "2026-11-01", "2026-11 ", "2026/11", "２026-11"),
    "cluster.volume_types": ("P V", "1PV", "P:V", "P,V", "X" * 17, "é", "GV", "level", "Status", "member_id", "Kind"),
    "imports.required_columns": (" pv", "pv ", "x" * 65, "\u200b"),
    "treenode.listen_host": ("host:1", "a b", "[::1", "::1]", "0.0.0.0:50100", "*", "a/b"),
}
GOOD_TEXTS = {
    "cluster.coordinator": ("a:1", "ftsp01.example.com:65535", "10.0.0.1:50400", "[::1]:50400"),
    "cluster.nodes_service": ("fasttree-treenode", "n", "0n"),
    "pusher.upload_folder": ("a b", "/srv/übung", "."),
    "treenode.listen_host": ("::", "[::]", "fe80::1%eth0", "10.0.0.1", "node_1.example.com"),
}
FIELDS = [(section, name, field) for section, cls in SECTIONS.items() for name, field in fields_of(cls).items()]


def bounds(field: Field) -> tuple[Any, msgspec.Meta]:
    assert get_origin(field.kind) is Annotated, "each setting has bounds"
    base, meta = get_args(field.kind)[:2]
    return base, meta


def odd_values(field: Field) -> Iterator[Any]:
    """What can't be a value of that field."""
    base, meta = bounds(field)
    item = items_of(field.kind)
    if item is not None:
        good = list(field.default) or ["2026-11"]
        assert meta.max_length is not None
        yield from LISTS
        yield [good[0], good[0]]
        yield from [[]] * bool(meta.min_length)
        yield [f"X{number}" for number in range(meta.max_length + 1)]
    elif base is str:
        yield from TEXTS
        yield from [""] * bool(field.default)
    elif base is bool:
        yield from (0, 1, 1.5, "yes", "", [True], {"a": 1})
    else:
        assert meta.ge is not None
        assert meta.le is not None
        yield from NUMBERS
        yield meta.ge - (1 if base is int else 0.001)
        yield meta.le + 1
        yield from [1.5] * (base is int)


def texts_of(field: Field) -> Iterator[str]:
    """What can't stand for a value of that field on the command line or in the environment."""
    base, meta = bounds(field)
    if items_of(field.kind) is not None:
        good = str((field.default or ["2026-11"])[0])
        yield f"{good},{good}"
        yield from ["", ","] * bool(meta.min_length)
    elif base is str:
        yield "x" * 5_000
    elif base is bool:
        yield from ("", "x", "0", "1", "yes", "on", "true,false")
    else:
        yield from ("", "x", "nan", "inf", "-inf", "true", "0x10", "1,2", "9" * 5_000, "1e300", "-1e9")


def toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return json.dumps(value)
    return str(value)


def refused(section: str, file: Path | None, overrides: dict[str, str]) -> str:
    """The one line that is told, which names the field, says what it must be, and is not too long to read."""
    with pytest.raises(SettingsError) as raised:
        load_settings(SECTIONS[section], section, file, overrides)
    told = str(raised.value)
    assert told.isprintable()
    assert ": must " in told
    assert len(told) < 400
    return told


def test_the_table_has_every_section() -> None:
    assert set(NAMES) == set(SECTIONS)
    assert sum(1 for _, _, field in FIELDS for _ in odd_values(field)) > 500


@pytest.mark.parametrize(("section", "name", "field"), FIELDS, ids=[f"{section}.{name}" for section, name, _ in FIELDS])
def test_odd_values_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, name: str, field: Field
) -> None:
    file = tmp_path / "cluster.toml"
    for value in odd_values(field):
        file.write_text(f"[{section}]\n{name} = {toml(value)}\n")
        assert refused(section, file, {}).startswith(f"{file}: {section}.{name} = "), value
    for text in texts_of(field):
        assert refused(section, None, {f"{section}.{name}": text}).startswith(f"--set {section}.{name}=")
        variable = f"FASTTREE_{section.upper()}_{name.upper()}"
        with monkeypatch.context() as environment:
            environment.setenv(variable, text)
            assert refused(section, None, {}).startswith(f"environment: {variable}=")


@pytest.mark.parametrize(("section", "name", "field"), FIELDS, ids=[f"{section}.{name}" for section, name, _ in FIELDS])
def test_defaults_and_bounds_are_taken(section: str, name: str, field: Field) -> None:
    base, meta = bounds(field)
    values = [field.default] if base in (str, bool) or items_of(field.kind) else [field.default, meta.ge, meta.le]
    for value in values:
        assert msgspec.convert(value, field.kind) == value


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in ODD_TEXTS.items() for text in texts])
def test_odd_texts_are_refused(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "cluster.toml"
    section, _, field = name.partition(".")
    is_list = items_of(fields_of(SECTIONS[section])[field].kind) is not None
    file.write_text(f"[{section}]\n{field} = {toml([text] if is_list else text)}\n", encoding="utf-8")
    assert refused(section, file, {}).startswith(f"{file}: {name} = ")


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in GOOD_TEXTS.items() for text in texts])
def test_good_texts_are_taken(name: str, text: str) -> None:
    section, _, field = name.partition(".")
    settings = load_settings(SECTIONS[section], section, None, {name: text})
    assert value_of(settings, field) == text


@pytest.mark.parametrize(
    ("section", "together", "told"),
    [
        ("coordinator", {"port": 7, "http_port": 7}, "http_port = 7: must differ from port"),
        ("coordinator", {"closing_s": 0.005}, "probe_interval_s = 0.01, the default: must be less than closing_s"),
        ("pusher", {"port": 7, "http_port": 7}, "http_port = 7: must differ from port"),
        ("pusher", {"upload_folder": "a/b/", "state_folder": "a//b"}, "upload_folder = 'a/b/': must differ from"),
        ("pusher", {"push_updates_max": 9}, "push_stream_updates_max = 10000, the default: must be at most"),
        ("pusher", {"window_updates": 9}, "batch_updates_max = 2000, the default: must be at most window_updates"),
        ("pusher", {"window_bytes": 9}, "batch_bytes_max = 1048576, the default: must be at most window_bytes"),
        ("pusher", {"backoff_max_s": 0.01}, "backoff_initial_s = 0.05, the default: must be at most backoff_max_s"),
        ("pusher", {"heartbeat_s": 10}, "heartbeat_s = 10: must be less than stall_timeout_s, which is 10"),
        ("pusher", {"load_backoff_max_s": 0.5}, "load_backoff_initial_s = 1.0, the default: must be at most"),
        ("treenode", {"report_port": 7, "instant_port": 7}, "instant_port = 7: must differ from report_port"),
        ("treenode", {"report_port": 7, "http_port": 7}, "http_port = 7: must differ from report_port"),
        ("treenode", {"instant_port": 7, "http_port": 7}, "http_port = 7: must differ from instant_port"),
        ("imports", {"unpacked_bytes": 1 << 20}, "unpack_free_bytes = 67108864, the default: must be at most"),
        ("cluster", {"volume_types": ["PV", "pv"]}, "volume_types = ['PV', 'pv']: must differ in more than their"),
    ],
)
def test_what_can_not_be_together_is_refused(tmp_path: Path, section: str, together: dict[str, Any], told: str) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text("\n".join([f"[{section}]", *(f"{name} = {toml(value)}" for name, value in together.items())]))
    assert f"{section}.{told}" in refused(section, file, {})


def test_free_ports_may_be_the_same(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text("[treenode]\nreport_port = 0\ninstant_port = 0\nhttp_port = 0\n[pusher]\nport = 0\nhttp_port = 0\n")
    for section in ("treenode", "pusher"):
        load_settings(SECTIONS[section], section, file, {})


@pytest.mark.parametrize(
    ("service", "assignment", "told"),
    [
        ("coordinator", "coordinator.lease_s=nan", "must be a number from 0.001 to 86,400"),
        ("coordinator", "coordinator.shun_s=1", "coordinator.shun_s is now coordinator.demotion_s: set that instead"),
        ("pusher", "pusher.tail_mib=0", "must be a whole number from 1 to 1,048,576"),
        ("pusher", "pusher.listen=0.0.0.0:50300", "pusher.listen is now pusher.listen_host and pusher.port"),
        ("treenode", "cluster.volume_types=", "must be a list of 1 to 64, each a volume type of up to 16 letters"),
        ("treenode", "coordinator.lease_s=0.2", "must be less than coordinator.lease_s less treenode.lease_margin_s"),
        ("treenode", "imports.threads=0", "must be a whole number from 1 to 1,024"),
    ],
)
async def test_a_service_says_it_in_one_line(tmp_path: Path, service: str, assignment: str, told: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"services.{service}", "--set", assignment),
        *("--set", f"{service}.state_folder={tmp_path / 'state'}"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 1
    (line,) = errors.decode().splitlines()
    assert line.startswith(f"error: {service}: ")
    assert told in line


@pytest.mark.parametrize(
    ("service", "field"),
    [
        *(("coordinator", field) for field in ("port", "http_port")),
        *(("pusher", field) for field in ("port", "http_port")),
        *(("treenode", field) for field in ("report_port", "instant_port", "http_port")),
    ],
)
async def test_a_taken_port_is_told_with_its_setting(tmp_path: Path, service: str, field: str) -> None:
    ports = [name for name in fields_of(SECTIONS[service]) if name.endswith("port")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = dict.fromkeys(ports, "0") | {field: str(port), "listen_host": "127.0.0.1"}
        settings["state_folder"] = str(tmp_path / "state")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"services.{service}"),
            *(word for name, value in settings.items() for word in ("--set", f"{service}.{name}={value}")),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 1
    last = errors.decode().splitlines()[-1]
    assert last.startswith(f"error: {service}: can't listen on 127.0.0.1:{port}")
    assert last.endswith(f"set {service}.{field}")
    assert "Traceback" not in errors.decode()
