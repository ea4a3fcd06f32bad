"""[FastTree] as values: each environment with its own, and what all share. What is wrong is a fault with its line.

An environment is what keys end with: `live`, `test`, `sample`. The cluster switch has other words for some of them in
2016's papers (`dev tst pre live`): where no other key ends with such a word, it means the environment whose MDIR ends
with it (`dot-pre`), else the one that it is short for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final, NamedTuple

from services.datatrax.cbldatatrax.keys import KEYS, Key, key_of, named
from services.datatrax.cbldatatrax.lines import SECTION, Entry, Fault, read_section
from services.shared.domain.sentences import quoted

_ENVIRONMENTS_MAX: Final = 16
#: Keys that switch something for an environment that others describe.
_SWITCHES: Final = ("cluster-transfer", "Instant-Push")
_SHORT_FOR: Final = {"tst": "test", "pre": "test", "preview": "test", "dev": "sample"}
_LIVE: Final = "live"


class Value(NamedTuple):
    """What a key comes to, and where that is from."""

    key: Key
    #: As the file writes it; by the rules where the file has none.
    name: str
    text: str
    #: 0: the default.
    line: int = 0
    #: Where it stands behind a `#`; 0: nowhere.
    commented_line: int = 0


class Environment(NamedTuple):
    """One environment's values, by the names of their keys."""

    name: str
    values: dict[str, Value]

    def text(self, name: str) -> str:
        return self.values[name].text

    def line(self, name: str) -> int:
        return self.values[name].line

    def is_on(self, name: str) -> bool:
        """Of a key that is Y or N."""
        return self.text(name).upper() == "Y"

    @property
    def has_cluster(self) -> bool:
        """Whether it is in use, and its data goes to every node of a cluster."""
        return self.is_on("enabled-primary") and self.is_on("cluster-transfer")

    @property
    def port(self) -> int:
        return int(self.text("server-port"))


class Configuration(NamedTuple):
    """All of [FastTree]."""

    environments: dict[str, Environment]
    #: What has no environment, by the names of the keys.
    common: dict[str, Value]
    #: Keys that are none of ours, which nothing goes by.
    unknown: list[Entry]
    #: In the order of lines. Where there is one, values may be missing or wrong.
    faults: list[Fault]

    @property
    def instant_port(self) -> int:
        return int(self.common["Instant-Server-Port"].text)


def configuration_of(text: str) -> Configuration:
    """What the text of a file says."""
    section = read_section(text)
    faults = list(section.faults)
    given: dict[tuple[str, str], Entry] = {}
    unknown = []
    for entry in section.entries.values():
        found = named(entry.key)
        if found is None:
            if fault := _mistyped(entry):
                faults.append(fault)
            else:
                unknown.append(entry)
        elif found.key.is_by_environment and not found.suffix:
            faults.append(
                Fault(entry.line, f"{entry.name} must end with its environment, such as {entry.name}-{_LIVE}")
            )
        elif not found.key.kind.is_good(entry.value):
            faults.append(
                Fault(entry.line, f"{entry.name} must be {found.key.kind.words}; found {quoted(entry.value)}")
            )
        else:
            given[found.key.name, found.suffix] = entry
    commented = {(found.key.name, found.suffix): each for each in section.commented if (found := named(each.key))}
    names = list(dict.fromkeys(suffix for name, suffix in given if suffix and name not in _SWITCHES))
    if len(names) > _ENVIRONMENTS_MAX:
        faults.append(Fault(0, f"{len(names)} environments: {_ENVIRONMENTS_MAX} at most"))
        names = names[:_ENVIRONMENTS_MAX]
    faults += _name_switches(names, given)
    environments = {}
    for name in names:
        values = {
            key.name: _value(key, name, given.get((key.name, name)), commented.get((key.name, name)))
            for key in KEYS
            if key.is_by_environment
        }
        if not values["Instant-Push"].text:
            of_live = values["enabled-primary"].text if name == _LIVE else "N"
            values["Instant-Push"] = values["Instant-Push"]._replace(text=of_live)
        environments[name] = Environment(name, values)
    common = {
        key.name: _value(key, "", given.get((key.name, "")), commented.get((key.name, "")))
        for key in KEYS
        if not key.is_by_environment
    }
    return Configuration(environments, common, unknown, sorted(faults))


def _value(key: Key, environment: str, entry: Entry | None, commented: Entry | None) -> Value:
    name = entry.name if entry else f"{SECTION}-{key.name}" + (f"-{environment}" if environment else "")
    return Value(
        key, name, entry.value if entry else key.default, entry.line if entry else 0, commented.line if commented else 0
    )


def _mistyped(entry: Entry) -> Fault | None:
    """A key that is nearly one of ours: whoever wrote it counts on it."""
    stem, _, suffix = entry.key.rpartition("-")
    for written, end in ((entry.key, ""), (stem, suffix)):
        near = difflib.get_close_matches(
            written, [key.key for key in KEYS if key.is_by_environment == bool(end)], 1, 0.8
        )
        if near:
            meant = next(key for key in KEYS if key.key == near[0])
            return Fault(
                entry.line,
                f"{entry.name} is no key: is {SECTION}-{meant.name}{'-' + end if end else ''} meant? "
                "Put a # before it where it is not",
            )
    return None


def _name_switches(names: list[str], given: dict[tuple[str, str], Entry]) -> Iterator[Fault]:
    """Gives the switches the names of the environments that they mean."""
    for switch in _SWITCHES:
        for (name, suffix), entry in list(given.items()):
            if name != switch or suffix in names:
                continue
            del given[name, suffix]
            meant = _meant(suffix, names, given)
            if meant is None:
                yield Fault(
                    entry.line,
                    f"{entry.name}: no other key ends with {suffix}; there are: {', '.join(names) or 'none'}",
                )
                continue
            other = given.setdefault((name, meant), entry)
            if other is not entry and other.value.upper() != entry.value.upper():
                yield Fault(
                    entry.line,
                    f"{entry.name} means {meant}, as {other.name} at line {other.line} does, which is {other.value}: "
                    "remove one",
                )


def _meant(suffix: str, names: list[str], given: dict[tuple[str, str], Entry]) -> str | None:
    folder = key_of("MDIR").name
    for name in names:
        entry = given.get((folder, name))
        if entry and entry.value.lower().endswith(f"-{suffix}"):
            return name
    long = _SHORT_FOR.get(suffix)
    return long if long in names else None
