"""The settings of every service, read by their own code: no field, bound or place is known here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fasttree.command.session import CommandError
from services.console.settings import ConsoleSettings
from services.coordinator.settings import FOUND_BY_ADDRESS, CoordinatorSettings
from services.datatrax.settings import DataTraxSettings
from services.pusher.settings import PusherSettings
from services.shared.config.bounds import READ, OptionalPath, Seconds
from services.shared.config.hosts_file import hosts_faults
from services.shared.config.load import (
    SettingsError,
    given_places,
    given_value,
    load_settings,
    parse_overrides,
    settings_faults,
    sound_settings,
)
from services.shared.config.paths import path_fault
from services.shared.config.sections import ClusterSettings, Settings, fields_of, value_of
from services.shared.files.sealed.settings import SealingSettings
from services.shared.security.audit.settings import AuditSettings
from services.shared.security.settings import MUTUAL, TlsSettings
from services.shared.security.tokens.settings import TokenSettings
from services.shared.telemetry.settings import TelemetrySettings
from services.treenode.imports.limits import ImportLimits
from services.treenode.settings import TreeNodeSettings, check_lease

SECTION_CLASSES: Mapping[str, type[Settings]] = {
    "cluster": ClusterSettings,
    "coordinator": CoordinatorSettings,
    "pusher": PusherSettings,
    "treenode": TreeNodeSettings,
    "imports": ImportLimits,
    "datatrax": DataTraxSettings,
    "console": ConsoleSettings,
    "tls": TlsSettings,
    "telemetry": TelemetrySettings,
    "tokens": TokenSettings,
    "audit": AuditSettings,
    "sealing": SealingSettings,
}


class Setting(NamedTuple):
    """One setting in force."""

    section: str
    field: str
    value: Any
    #: The file, "environment" or "--set"; empty: the default.
    place: str


def settings_in_force(file: Path | None, assignments: tuple[str, ...]) -> Iterator[Setting]:
    """Every setting, in the order of docs/configuration.md. Raises CommandError where one can't be."""
    try:
        overrides = parse_overrides(assignments)
        for section, cls in SECTION_CLASSES.items():
            settings = load_settings(cls, section, file, overrides)
            places = given_places(section, file, overrides)
            for field in fields_of(cls):
                yield Setting(section, field, value_of(settings, field), places.get(field, ""))
    except SettingsError as error:
        raise CommandError(f"{error}; `fasttree config check` lists every fault") from None


def faults_of(file: Path | None, assignments: tuple[str, ...], *, elsewhere: bool = False) -> list[str]:
    """Why a service would not start with these settings: a line for each fault, with the place and the mend.
    `elsewhere`: they are for another machine, and what paths lead to here says nothing."""
    overrides: dict[str, str] = {}
    faults = []
    for assignment in assignments:
        try:
            overrides |= parse_overrides([assignment])
        except SettingsError as error:
            faults.append(str(error))
    faults += settings_faults(SECTION_CLASSES, file, overrides, with_paths=not elsewhere)
    # What is wrong with a setting that these read is told already, so it is told once.
    others = (_lease_faults,) if elsewhere else (_lease_faults, _hosts_faults, _certificate_faults, _key_faults)
    return list(dict.fromkeys([*faults, *(fault for look in others for fault in look(file, overrides))]))


def check_given(file: Path | None, assignments: tuple[str, ...]) -> None:
    """Raises CommandError for what the file and --set have that no service takes, before one is started. What stands
    in the environment is each service's own to judge."""
    own = ("--set ", *([f"{file}: "] if file is not None else []))
    faults = [fault for fault in faults_of(file, assignments) if fault.startswith(own)]
    if faults:
        more = f"; and {len(faults) - 1} more, which `fasttree config check` lists" if len(faults) > 1 else ""
        raise CommandError(faults[0] + more)


def check_shared_record(coordinators: int, file: Path | None, assignments: tuple[str, ...]) -> None:
    """Raises CommandError where so many coordinators can't have one record."""
    store = given_value("coordinator.store", str, file, parse_overrides(assignments)) or CoordinatorSettings().store
    if store not in FOUND_BY_ADDRESS:
        what = "in a file, which is one coordinator's alone" if store == "sqlite" else f"in {store}"
        raise CommandError(
            f"{coordinators} coordinators need one record, and coordinator.store keeps it {what}: "
            'set coordinator.store = "postgresql" and coordinator.postgresql_url, or "etcd" and '
            "coordinator.etcd_endpoints; or --coordinators 1"
        )


def notes_of(file: Path | None, assignments: tuple[str, ...]) -> list[str]:
    """What these settings keep a cluster from, though each service starts: a line each. They have no fault."""
    log_store = given_value("pusher.log_store", str, file, parse_overrides(assignments))
    if log_store in (None, "sqlite"):
        return []
    return [f"pusher.log_store is {log_store}, so no column can be personal: docs/security.md, `Personal columns`"]


def _lease_faults(file: Path | None, overrides: Mapping[str, str]) -> Iterator[str]:
    """What a node looks at where the coordinator's settings stand beside its own."""
    try:
        lease_s = given_value("coordinator.lease_s", Seconds, file, overrides)
        treenode = sound_settings(TreeNodeSettings, "treenode", file, overrides)
        if lease_s is not None and treenode is not None:
            check_lease(treenode, lease_s)
    except SettingsError as error:
        yield str(error)


def _certificate_faults(file: Path | None, overrides: Mapping[str, str]) -> Iterator[str]:
    """What is to be in the folder of certificates, where they are used."""
    tls = sound_settings(TlsSettings, "tls", file, overrides)
    if tls is None or tls.mode != MUTUAL or not tls.folder:
        return
    bases = [Path(), *([file.parent] if file is not None else [])]
    for named, path in ((tls.certificate, tls.certificate_path), (tls.key, tls.key_path), (tls.ca, tls.ca_path)):
        if not named and (fault := path_fault(READ, str(path), bases)):
            yield f"tls.folder: {path}: {fault}"


def _key_faults(file: Path | None, overrides: Mapping[str, str]) -> Iterator[str]:
    """What a part that seals finds in its file of keys, where it is there."""
    sealing = sound_settings(SealingSettings, "sealing", file, overrides)
    if sealing is None or not sealing.key_file:
        return
    bases = [Path(), *([file.parent] if file is not None else [])]
    for path in [base / sealing.key_file for base in bases if not path_fault(READ, sealing.key_file, [base])][:1]:
        # Loads a cipher, which no other command needs.
        from fasttree.command.keys.reading import keys_in

        try:
            keys_in(path)
        except CommandError as error:
            yield f"sealing.key_file: {error}"


def _hosts_faults(file: Path | None, overrides: Mapping[str, str]) -> Iterator[str]:
    try:
        hosts_file = given_value("cluster.hosts_file", OptionalPath, file, overrides)
    except SettingsError as error:
        yield str(error)
        return
    if hosts_file:
        yield from hosts_faults(Path(hosts_file))
