"""What operators write: settings, host files."""

from __future__ import annotations

from services.shared.config.hosts_file import hosts_faults, read_hosts_file
from services.shared.config.load import SettingsError, load_settings, settings_faults
from services.treenode.settings import TreeNodeSettings
from tests.fuzz.target import Run, Target, scratch


def _settings() -> Run:
    path = scratch("fasttree.toml")

    def run(data: bytes) -> None:
        path.write_bytes(data)
        faults = settings_faults({"treenode": TreeNodeSettings}, path, {})
        assert all("\n" not in each for each in faults)
        load_settings(TreeNodeSettings, "treenode", path, {})

    return run


def _hosts() -> Run:
    path = scratch("hosts")

    def run(data: bytes) -> None:
        path.write_bytes(data)
        hosts_faults(path)
        read_hosts_file(path)

    return run


TARGETS = [
    Target(
        "settings.settings",
        _settings,
        (SettingsError,),
        lambda: [b'[treenode]\nname = "n1"\nreport_port = 50100\n[imports]\nrows = 7\n[tls]\nmode = "off"\n'],
    ),
    Target(
        "settings.hosts", _hosts, (SettingsError,), lambda: [b"# ours\nftsp01 50100 50201\n10.0.0.1 1 2\n[::1] 7 8\n"]
    ),
]
