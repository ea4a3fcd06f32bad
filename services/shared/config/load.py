"""Settings of a service: a TOML file, the environment, then the command line; the last one wins.

A file may hold sections of other services, so that one file can serve a whole cluster; within a section, an unknown
field is an error, and so is a value that is not within its bounds.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from services.shared.config.bounds import items_of, must_be
from services.shared.config.renamed import RENAMED, RETIRED, RETIRED_SECTIONS
from services.shared.config.sections import SECTIONS, AnySettings, Field, Settings, fields_of, parts_of, value_of

#: Characters of a wrong value that are shown.
_SHOWN_MAX = 60
#: Names in the environment that are no settings.
OTHER_NAMES = ("FASTTREE_ENDPOINTS", "FASTTREE_LOG_LEVEL")
_MORE = "docs/configuration.md has every setting"


class SettingsError(Exception):
    """Settings that can't be used: one line that names the place and the mend."""


class Given(NamedTuple):
    """One value as somebody wrote it."""

    #: The file, "environment" or "--set".
    place: str
    #: Place, name and value, as the error tells them.
    said: str
    value: Any
    #: Whether the value is a text that stands for a value of the field's type.
    is_text: bool


def load_settings(cls: type[AnySettings], section: str, file: Path | None, overrides: Mapping[str, str]) -> AnySettings:
    """One section's settings.

    Args:
        cls: The section's class.
        section: Its name, one of SECTIONS.
        file: TOML file, or None for defaults.
        overrides: `section.field` to text, from the command line; those of other sections are passed over.

    Raises:
        SettingsError: An unreadable file, an unknown section or field, or a value that can't be.
    """
    settings, faults = _loaded(cls, section, _given(section, file, _read_file(file), overrides), file)
    if settings is None:
        raise SettingsError(faults[0])
    return settings


def settings_faults(
    sections: Mapping[str, type[Settings]], file: Path | None, overrides: Mapping[str, str]
) -> list[str]:
    """Everything that `load_settings` would refuse, and names in the environment that nobody reads: a line each.

    Args:
        sections: The class of each section that is looked at.
        file, overrides: As for `load_settings`.
    """
    try:
        content = _parsed(file)
    except SettingsError as error:
        return [str(error), *_unread_names()]
    faults = _section_faults(file, content)
    content = {name: value for name, value in content.items() if isinstance(value, dict)}
    for section, cls in sections.items():
        faults += _loaded(cls, section, _given(section, file, content, overrides), file)[1]
    return [*faults, *_unread_names()]


def given_places(section: str, file: Path | None, overrides: Mapping[str, str]) -> dict[str, str]:
    """Of each field that somebody gave, where the value in force stands: a file, the environment, the command line.

    Raises SettingsError: as `load_settings`.
    """
    given = dict(_given(section, file, _read_file(file), overrides))
    return {field: each.place for field, each in given.items()}


def _loaded(
    cls: type[AnySettings], section: str, pairs: Iterator[tuple[str, Given]], file: Path | None
) -> tuple[AnySettings | None, list[str]]:
    """The settings, or every fault of theirs."""
    known, given = fields_of(cls), dict(pairs)
    values, faults = {}, []
    for name, value in given.items():
        try:
            _check_name(section, name, known, value)
            values[name] = _value(known[name], value)
        except SettingsError as error:
            faults.append(str(error))
    if faults:
        return None, faults
    settings = cls.of(**values)
    for part in parts_of(settings):
        for problem in part.problems():
            name = problem.field
            default = f"{file or 'settings'}: {section}.{name} = {_shown(value_of(settings, name))}, the default"
            faults.append(f"{given[name].said if name in given else default}: {problem.mend}")
    return (None if faults else settings), faults


def given_value(name: str, kind: Any, file: Path | None, overrides: Mapping[str, str]) -> Any:
    """The value that somebody gave to `section.field` of another service; None where nobody did, here.

    Raises:
        SettingsError: As `load_settings`.
    """
    section, _, field = name.partition(".")
    value = dict(_given(section, file, _read_file(file), overrides)).get(field)
    return None if value is None else _value(Field(kind, None, Settings), value)


def parse_overrides(assignments: tuple[str, ...] | list[str]) -> dict[str, str]:
    """`section.field=value` texts as a mapping.

    Raises:
        SettingsError: One has no `=`, or names no section.
    """
    overrides: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        section, dot, field = name.strip().partition(".")
        if not equals or not dot or not field or section not in SECTIONS:
            raise SettingsError(
                f"--set {_cut(assignment)}: expected section.field=value with a section of {', '.join(SECTIONS)}"
            )
        overrides[name.strip()] = value.strip()
    return overrides


def _given(
    section: str, file: Path | None, content: Mapping[str, Any], overrides: Mapping[str, str]
) -> Iterator[tuple[str, Given]]:
    """What was given for the section; what comes later goes before what came earlier."""
    for field, value in content.get(section, {}).items():
        yield field, Given(str(file), f"{file}: {section}.{_cut(field)} = {_shown(value)}", value, False)
    prefix = f"FASTTREE_{section.upper()}_"
    for name, text in os.environ.items():
        if name.startswith(prefix):
            yield (
                name.removeprefix(prefix).lower(),
                Given("environment", f"environment: {_cut(name)}={_cut(text)}", text, True),
            )
    for name, text in overrides.items():
        owner, _, field = name.partition(".")
        if owner == section:
            yield field, Given("--set", f"--set {_cut(name)}={_cut(text)}", text, True)


def _check_name(section: str, name: str, known: Mapping[str, Field], given: Given) -> None:
    if name in known:
        return
    if new := RENAMED.get(f"{section}.{name}"):
        raise SettingsError(f"{given.said}: {section}.{name} is now {new}: set that instead; see CHANGELOG.md")
    if why := RETIRED.get(f"{section}.{name}"):
        raise SettingsError(f"{given.said}: {section}.{name} is no more: {why}")
    near = difflib.get_close_matches(name, known, n=1)
    raise SettingsError(
        f"{given.said}: [{section}] has no field {_cut(name)}; " + (f"did you mean {near[0]}? " if near else "") + _MORE
    )


def _value(field: Field, given: Given) -> Any:
    """The value as the field's type, within its bounds."""
    value = given.value
    if given.is_text and items_of(field.kind) is not None:
        value = [item.strip() for item in value.split(",") if item.strip()]
    try:
        typed = msgspec.convert(value, field.kind, strict=not given.is_text)
    except msgspec.ValidationError:
        typed = None
    if typed is None or (items_of(field.kind) is not None and len(set(typed)) < len(typed)):
        raise SettingsError(f"{given.said}: {must_be(field.kind)}")
    return typed


def _read_file(file: Path | None) -> dict[str, Any]:
    content = _parsed(file)
    for fault in _section_faults(file, content):
        raise SettingsError(fault)
    return content


def _parsed(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: can't read the settings: {_cut(str(error), 200)}") from error


def _section_faults(file: Path | None, content: Mapping[str, Any]) -> list[str]:
    faults = []
    for name, value in content.items():
        if name in RETIRED_SECTIONS:
            faults.append(f"{file}: [{name}] is no section any more; {RETIRED_SECTIONS[name]}")
        elif name not in SECTIONS:
            faults.append(f"{file}: unknown section [{_cut(name)}]; known are {', '.join(SECTIONS)}")
        elif not isinstance(value, dict):
            faults.append(f"{file}: {name} must be a section [{name}]")
    return faults


def _unread_names() -> Iterator[str]:
    """Of the environment, as our own begin, and of no section."""
    prefixes = tuple(f"FASTTREE_{section.upper()}_" for section in SECTIONS)
    for name, text in os.environ.items():
        if name.startswith("FASTTREE_") and not name.startswith(prefixes) and name not in OTHER_NAMES:
            yield (
                f"environment: {_cut(name)}={_cut(text)}: nobody reads that name; a setting is FASTTREE_SECTION_FIELD "
                f"with a section of {', '.join(SECTIONS)}"
            )


def _shown(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str, length_max: int = _SHOWN_MAX) -> str:
    """The text in one line of its own, not too long; what can't be printed is escaped."""
    printable = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return printable if len(printable) <= length_max else printable[: length_max - 1] + "…"
