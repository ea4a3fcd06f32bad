"""Which settings a start takes from CBLDATATRAX: where its folders and ports are said there, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services.datatrax.cbldatatrax.configuration import Configuration
from services.shared.config.load import SettingsError


def below(root: str, path: str) -> str:
    """A path of the file's, below the root that stands for / where one is set."""
    return f"{root.rstrip('/')}{path}" if root else path


def chosen_environment(configuration: Configuration, named: str) -> str:
    """Whose cluster is meant: the one that is named, else the only one that has a cluster. Raises SettingsError."""
    there = ", ".join(configuration.environments) or "none"
    if named in configuration.environments:
        return named
    if named:
        raise SettingsError(f"no environment {named}; there are: {there}")
    clusters = [each.name for each in configuration.environments.values() if each.has_cluster]
    if len(clusters) != 1:
        having = " and ".join(clusters) or "none"
        raise SettingsError(f"which environment is meant must be said: of {there}, {having} have a cluster")
    return clusters[0]


#: Settings of [datatrax] that the file may stand for.
PORT: Final = "instant_port"
SPOOL: Final = "spool_folder"
PROGRESS: Final = "progress_folder"


def settings_from(configuration: Configuration, folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Settings of [datatrax] by their names, without those that somebody gave.

    Args:
        folder: /datatrax/fasttree, or what stands for it.
        given: The settings that were given, with their values' texts; the port's counts for the folder's names.
    """
    port = given.get(PORT, str(configuration.instant_port))
    made = {PORT: port, SPOOL: str(folder / f"FT{port}"), PROGRESS: str(folder)}
    return {name: value for name, value in made.items() if name not in given}
