"""Settings that can't be are named at the start, in one line."""

from typing import Any

import pytest

from services.shared.config.load import SettingsError
from services.treenode.settings import TreeNodeSettings, checked


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heartbeat_s", 0),
        ("apply_slice_ms", -1),
        ("lease_margin_s", -0.1),
        ("snapshots_kept", 1),
        ("imports_kept", 0),
        ("debug_log_bytes_max", 10),
        ("download_silence_s", float("nan")),
    ],
)
def test_what_can_not_be_is_named(field: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"\[treenode\] {field} = "):
        checked(TreeNodeSettings(**{field: value}))


def test_a_node_has_a_name_and_is_found_by_a_host() -> None:
    settings = checked(TreeNodeSettings())
    assert settings.name
    assert settings.host not in ("", "0.0.0.0")
    assert checked(TreeNodeSettings(listen_host="127.0.0.1")).host == "127.0.0.1"
    assert checked(TreeNodeSettings(name="n7", host="ftsp01.example.com")).host == "ftsp01.example.com"
