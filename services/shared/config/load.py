"""Settings of a service: a TOML file, the environment, then the command line; the last one wins.

A file may hold sections of other services, so that one file can serve a whole cluster; within a section, an unknown
field is an error, and so is a value that is not within its bounds.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from services.shared.config.bounds import base_of, items_of, must_be, path_of
from services.shared.config.passwords import without_passwords
from services.shared.config.paths import path_fault
from services.shared.config.renamed import RENAMED, RETIRED, RETIRED_SECTIONS
from services.shared.config.sections import SECTIONS, AnySettings, Field, Settings, fields_of, parts_of, value_of
from services.shared.config.text_file import read_text_file
from services.shared.domain.columns import is_number

#: Characters of a wrong value that are shown.
_SHOWN_MAX = 60
_FILE_BYTES_MAX = 1 << 20
#: Variables that are no settings of a section.
_OTHER_VARIABLES = (
    "FASTTREE_ENDPOINTS",
    "FASTTREE_LOG_FORMAT",
    "FASTTREE_LOG_LEVEL",
    "FASTTREE_TLS_DIR",
    "FASTTREE_TOKEN_FILE",
)
_PASSWORD_MEND = "take it out, and name a file of it in the setting that ends with password_file, where there is one"
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
    sections: Mapping[str, type[Settings]], file: Path | None, overrides: Mapping[str, str], *, with_paths: bool = True
) -> list[str]:
    """Everything that `load_settings` would refuse, names in the environment that nobody reads, and paths at which
    nothing is that could be used: a line each.

    Args:
        sections: The class of each section that is looked at.
        file, overrides: As for `load_settings`.
        with_paths: Whether this is the machine that they are for.
    """
    try:
        content = _parsed(file)
    except SettingsError as error:
        return [str(error), *unknown_variables(os.environ)]
    faults = _section_faults(file, content)
    for section, cls in sections.items():
        given = dict(_given(section, file, _sections(content), overrides))
        wrong = _loaded(cls, section, iter(given.items()), file)[1]
        faults += wrong or (_path_faults(cls, given, file) if with_paths else [])
    return [*faults, *unknown_variables(os.environ)]


def _path_faults(cls: type[Settings], given: Mapping[str, Given], file: Path | None) -> list[str]:
    """Of the paths that somebody gave, those that no service could use here."""
    known, bases = fields_of(cls), [Path(), *([file.parent] if file is not None else [])]
    faults = []
    for name, value in given.items():
        kind = path_of(known[name].kind)
        if kind and (fault := path_fault(kind, str(value.value), bases)):
            faults.append(f"{value.said}: {fault}")
    return faults


def sound_settings(
    cls: type[AnySettings], section: str, file: Path | None, overrides: Mapping[str, str]
) -> AnySettings | None:
    """One section's settings, whatever is wrong with others; None where it has a fault, as `settings_faults` tells."""
    try:
        return _loaded(cls, section, _given(section, file, _sections(_parsed(file)), overrides), file)[0]
    except SettingsError:
        return None


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
        SettingsError: An unreadable file, or a value that can't be.
    """
    section, _, field = name.partition(".")
    value = dict(_given(section, file, _sections(_parsed(file)), overrides)).get(field)
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
        if name.startswith(prefix) and name not in _OTHER_VARIABLES:
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
    try:
        if given.is_text:
            value = _of_text(value, field.kind)
        typed = msgspec.convert(value, field.kind)
    except (msgspec.ValidationError, ValueError):
        typed = None
    if typed is None or (items_of(field.kind) is not None and len(set(typed)) < len(typed)):
        raise SettingsError(f"{given.said}: {must_be(field.kind)}")
    if isinstance(typed, str) and without_passwords(typed) != typed:
        raise SettingsError(f"{given.said}: holds a password, and settings are shown and logged: {_PASSWORD_MEND}")
    return typed


def _of_text(text: str, kind: Any) -> Any:
    """What a text stands for: items between commas, true or false, a number as anywhere else, or itself.

    Raises ValueError where it stands for none of that type.
    """
    base = base_of(kind)
    if items_of(kind) is not None:
        return [item.strip() for item in text.split(",") if item.strip()]
    if base is bool:
        return {"true": True, "false": False}.get(text.lower())
    if base in (int, float):
        if not is_number(text):
            raise ValueError(text)
        return base(text)
    return text


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """A line for each variable of the environment that looks like a setting and is none, so that nothing reads it."""
    prefixes = [f"FASTTREE_{section.upper()}_" for section in SECTIONS]
    for name in sorted(names):
        upper = name.upper()
        if not upper.startswith("FASTTREE_") or name in _OTHER_VARIABLES or name.startswith(tuple(prefixes)):
            continue
        near = difflib.get_close_matches(upper, _OTHER_VARIABLES, n=1, cutoff=0.8)
        if not near:
            meant = [(prefix, upper[: len(prefix)]) for prefix in prefixes]
            near = [
                prefix + "…"
                for prefix, start in meant
                if difflib.SequenceMatcher(None, prefix.replace("_", ""), start.replace("_", "")).ratio() > 0.8
            ]
        hint = f"did you mean {near[0]}? " if near else ""
        yield f"environment: {_cut(name)} is no setting, and nothing reads it; {hint}{_MORE}"


def _read_file(file: Path | None) -> dict[str, Any]:
    content = _parsed(file)
    for fault in _section_faults(file, content):
        raise SettingsError(fault)
    return content


def _parsed(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(read_text_file(file, _FILE_BYTES_MAX))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: can't read the settings: it is no TOML: {_cut(str(error), 200)}") from error
    except (OSError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, OSError) else "a value in it is none that can be read"
        raise SettingsError(f"{file}: can't read the settings: {_cut(why, 200)}") from error


def _sections(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if isinstance(value, dict)}


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


def _shown(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str, length_max: int = _SHOWN_MAX) -> str:
    """The text in one line of its own, not too long, and without passwords; what can't be printed is escaped."""
    printable = "".join(each if each.isprintable() else repr(each)[1:-1] for each in without_passwords(text))
    return printable if len(printable) <= length_max else printable[: length_max - 1] + "…"
