"""Every section of the settings, and the class that is read from it."""

from __future__ import annotations

from services.console.settings import ConsoleSettings
from services.coordinator.settings import CoordinatorSettings
from services.datatrax.settings import DataTraxSettings
from services.pusher.settings import PusherSettings
from services.shared.config.sections import ClusterSettings, Settings
from services.shared.files.sealed.settings import SealingSettings
from services.shared.security.audit.settings import AuditSettings
from services.shared.security.settings import TlsSettings
from services.shared.security.tokens.settings import TokenSettings
from services.shared.telemetry.settings import TelemetrySettings
from services.treenode.imports.limits import ImportLimits
from services.treenode.settings import TreeNodeSettings

SECTIONS: dict[str, type[Settings]] = {
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
