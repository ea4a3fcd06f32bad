"""Settings of a service: a TOML file, the environment, then the command line; the last one wins.

A section is a frozen `msgspec.Struct` with a default for every field. A file may hold sections of other services, so
that one file can serve a whole cluster; within a section, an unknown field is an error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

SECTIONS = ("cluster", "coordinator", "pusher", "treenode", "vip", "imports", "reports")


class SettingsError(Exception):
    """Settings that can't be used: one line that names the place and the mend."""


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[cluster]`: what every part of a cluster must agree on."""

    #: The cluster's name: one company's tree in one environment.
    name: str = "dot-live"
    #: Volume types, the default first.
    volume_types: list[str] = msgspec.field(default_factory=lambda: ["PV"])
    #: Open commission periods "YYYY-MM", the current one first.
    periods: list[str] = msgspec.field(default_factory=lambda: ["2026-11"])
    #: The cluster's nodes, one a line `host report-port instant-port`; empty: only those that the coordinator sees.
    hosts_file: str = ""
    #: host:port of the coordinator; empty: none, so no primary is elected and the VIP serves from every ready node.
    coordinator: str = ""


Section = TypeVar("Section", bound=msgspec.Struct)


def load_settings(cls: type[Section], section: str, file: Path | None, overrides: Mapping[str, str]) -> Section:
    """One section's settings.

    Args:
        cls: The section's Struct.
        section: Its name, one of SECTIONS.
        file: TOML file, or None for defaults.
        overrides: `section.field` to text, from the command line; those of other sections are passed over.

    Raises:
        SettingsError: An unreadable file, an unknown section or field, or a value of the wrong type.
    """
    values: dict[str, Any] = dict(_read_file(file).get(section, {})) if file else {}
    for field, text in _from_environment(cls, section).items():
        values[field] = _typed(cls, section, field, text)
    for name, text in overrides.items():
        owner, _, field = name.partition(".")
        if owner not in SECTIONS or not field:
            raise SettingsError(f"--set {name}: expected section.field=value with a section of {', '.join(SECTIONS)}")
        if owner == section:
            values[field] = _typed(cls, section, field, text)
    try:
        return msgspec.convert(values, cls)
    except msgspec.ValidationError as error:
        place = file or "settings"
        raise SettingsError(f"{place}, [{section}]: {error}; see docs/configuration.md") from error


def parse_overrides(assignments: tuple[str, ...] | list[str]) -> dict[str, str]:
    """`section.field=value` texts as a mapping.

    Raises:
        SettingsError: One has no `=`.
    """
    overrides: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment}: expected section.field=value")
        overrides[name.strip()] = value.strip()
    return overrides


def _read_file(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: can't read the settings: {error}") from error
    for name, value in content.items():
        if name not in SECTIONS:
            raise SettingsError(f"{file}: unknown section [{name}]; known are {', '.join(SECTIONS)}")
        if not isinstance(value, dict):
            raise SettingsError(f"{file}: {name} must be a section [{name}]")
    return content


def _from_environment(cls: type[msgspec.Struct], section: str) -> dict[str, str]:
    prefix = f"FASTTREE_{section.upper()}_"
    found = {}
    for name, text in os.environ.items():
        if name.startswith(prefix):
            found[name.removeprefix(prefix).lower()] = text
    return found


def _typed(cls: type[msgspec.Struct], section: str, field: str, text: str) -> Any:
    """The text as the field's type; lists are written with commas between their items."""
    types = {info.name: info.type for info in msgspec.structs.fields(cls)}
    if field not in types:
        raise SettingsError(f"[{section}] has no field {field!r}; it has {', '.join(sorted(types))}")
    wanted = types[field]
    raw: Any = [item.strip() for item in text.split(",") if item.strip()] if wanted == list[str] else text
    try:
        return msgspec.convert(raw, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"[{section}] {field} = {text!r}: {error}") from error
