"""Where the cluster is, when nobody says so: a variable that is nearly the right one is not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.command.session import CommandError, Session


@pytest.mark.parametrize("name", ["FASTTREE_ENDPOINT", "FASTTREE_ENPOINTS", "fasttree_endpoints"])
def test_a_variable_that_is_nearly_the_one_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("FASTTREE_ENDPOINTS", raising=False)
    monkeypatch.setenv(name, "elsewhere.json")
    with pytest.raises(CommandError, match=f"{name} is read by nobody: did you mean FASTTREE_ENDPOINTS"):
        Session().endpoints_file()
    assert Session(endpoints_path=Path("here.json")).endpoints_file() == Path("here.json")
    monkeypatch.setenv("FASTTREE_ENDPOINTS", "there.json")
    assert Session().endpoints_file() == Path("there.json")
