"""The objects, where the settings say."""

from __future__ import annotations

import re

from services.shared.config.load import SettingsError
from services.shared.domain.sentences import system_words
from services.shared.objects.folder import FolderObjects
from services.shared.objects.objects import Objects
from services.shared.objects.places import Place

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]|\A\.+\Z")


def open_objects(place: Place, cluster: str) -> Objects | None:
    """A cluster's objects; None where no place is set. Nothing is asked of the store yet: it may be away.

    Raises:
        SettingsError: What the store needs is not here.
    """
    if place.store == "s3":
        return _bucket(place, plain_name(cluster))
    return FolderObjects(place, plain_name(cluster)) if place.folder else None


def _bucket(place: Place, cluster: str) -> Objects:
    try:
        from services.shared.objects.s3 import S3Objects
    except ImportError as error:
        raise SettingsError(
            f"{place.settings}store: s3 needs {error.name}, which is not installed: pip install ha-fasttree[objects]"
        ) from error
    try:
        return S3Objects(place, cluster)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{place.settings}ca_file: {place.ca_file}: {system_words(error)}") from error


def plain_name(cluster: str) -> str:
    """A cluster's name as one of a folder; no two clusters' are the same."""
    return _NOT_PLAIN.sub(lambda found: "".join(f"={ord(each):02X}" for each in found[0]), cluster)
