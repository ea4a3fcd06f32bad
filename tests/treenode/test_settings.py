"""What a node makes of its settings: its name and host, and whether it can keep a lease."""

import pytest

from services.shared.config.load import SettingsError
from services.treenode.settings import TreeNodeSettings, check_lease, with_names


def test_a_node_has_a_name_and_is_found_by_a_host() -> None:
    settings = with_names(TreeNodeSettings())
    assert settings.name
    assert settings.host not in ("", "0.0.0.0")
    assert with_names(TreeNodeSettings(listen_host="127.0.0.1")).host == "127.0.0.1"
    assert with_names(TreeNodeSettings(name="n7", host="ftsp01.example.com")).host == "ftsp01.example.com"


def test_a_lease_that_no_heartbeat_can_renew_is_refused() -> None:
    settings = TreeNodeSettings.of(heartbeat_s=0.25, lease_margin_s=0.1)
    check_lease(settings, 0.36)
    for lease_s in (0.35, 0.1):
        with pytest.raises(SettingsError, match=r"heartbeat_s = 0\.25: must be less than"):
            check_lease(settings, lease_s)
