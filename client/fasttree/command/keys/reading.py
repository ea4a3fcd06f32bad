"""Files of keys and sealed files, read by the services' own code: nobody should learn their form from a copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fasttree.command.session import CommandError
from services.pusher.log.inspection import seals_in, unopened_records
from services.pusher.log.store import LogStoreError
from services.shared.files.durable import changing, replace_content, write_new_durably
from services.shared.files.sealed.errors import SealKeyError
from services.shared.files.sealed.keys import KEY_ID, Keys, new_key_line, parse_keys, read_keys
from services.shared.files.sealed.survey import NO_KEY, is_state_folder, survey, unopened_files
from services.shared.personal.needed import unopened_values, values_by_key
from services.shared.personal.vault import FILE_NAME, VaultError

#: The mend of a file that the disk does not take, and of a folder that it does not give.
_PLACE = "name one in a folder that is there, and that this user may write"
_READING = "give it to this user, or run this as its owner"
#: How `fasttree up` calls what it keeps.
_STATE = "state"


def keys_in(file: Path) -> Keys:
    """Raises CommandError."""
    try:
        return read_keys(file, "")
    except SealKeyError as error:
        raise CommandError(str(error)) from None


def make(file: Path, key_id: str) -> None:
    """A new file with one key. Raises CommandError."""
    _check_id(key_id)
    try:
        made = write_new_durably(file, new_key_line(key_id).encode())
    except OSError as error:
        raise CommandError(f"{file} can't be written: {error.strerror}: {_PLACE}") from None
    if not made:
        raise CommandError(f"{file} is there: `fasttree keys rotate {file}` puts a new key into it")


def put_first(file: Path, key_id: str) -> Keys:
    """A new key in the first place of a file, whose rights and owner stay. Raises CommandError; nothing was changed."""
    _check_id(key_id)
    keys_in(file)  # says what is wrong with it, or that there is none
    try:
        place = file.resolve(strict=True)  # a link stays one
        with changing(place):  # of two at one time, each leaves the other's key
            if keys_in(file).get(key_id) is not None:
                raise CommandError(f"{file} has a key {key_id}: give the new one another id with --id")
            data = new_key_line(key_id).encode() + place.read_bytes()
            found = parse_keys(data, str(file))
            replace_content(place, data)
    except SealKeyError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{file} can't be written: {error.strerror}: {_PLACE}") from None
    return found


def _check_id(key_id: str) -> None:
    if KEY_ID.fullmatch(key_id) is None:
        raise CommandError(
            f"--id {key_id!r}: an id has 1 to 32 of A-Z a-z 0-9 . _ -, and begins with a letter or digit"
        )


class Found:
    """What of one state folder is sealed: by the id of each key, files, records of the log and values of the vault; and
    what is clear. A vault is a file of each key that it needs."""

    def __init__(self, folder: Path, keys: Keys | None) -> None:
        """Raises CommandError."""
        self.folder = folder
        self._unopened: set[str] = set()
        try:
            found = survey(folder)
            self.files, self.clear_files = found.sealed, len(found.clear)
            self.records = seals_in(folder)
            self.values = values_by_key(folder)
            if keys is not None:
                self._unopened = unopened_files(folder, keys) | unopened_records(folder, keys)
                self._unopened |= unopened_values(folder, keys)
        except OSError as error:
            raise CommandError(f"{folder} can't be read: {error.strerror}: {_READING}") from None
        except (LogStoreError, VaultError) as error:
            raise CommandError(str(error)) from None
        self.files.update(dict.fromkeys(self.values.keys() - {""}, 1))
        self.clear_files += "" in self.values
        self.clear_values = self.values.pop("", 0)
        self.clear_records = self.records.pop("", 0)

    def has(self, key_id: str) -> bool | None:
        """Whether the file that was named has that key, and not another one; None where the damage says of none."""
        return None if key_id == NO_KEY else key_id not in self._unopened

    @property
    def is_any(self) -> bool:
        """Whether anything was there to be looked at."""
        return bool(self.files or self.records or self.clear_files or self.clear_records)


def found_in(named: Sequence[Path], homes: Sequence[Path], keys: Keys | None) -> list[Found]:
    """Of the folders named, or of the clusters of `fasttree up` in `homes`, and of those in them.

    Raises CommandError, also for a folder that is none of a node, a pusher or a cluster: that nothing is sealed there
    says nothing of a key.
    """
    places = list(named) or [home for home in homes if (home / _STATE).is_dir()]
    if not places:
        raise CommandError("no state folder here: name a node's or a pusher's by --dir")
    return [found for place in places for each in _states(place) if (found := Found(each, keys)).is_any]


def _states(place: Path) -> list[Path]:
    """State folders: the one named, or those in it; of a folder of `fasttree up`, those in what it calls state."""
    try:
        above = [each for each in (place, place / _STATE) if each.is_dir()]
        inner = [each for folder in above for each in sorted(folder.iterdir()) if each.is_dir()]
        names = ("log.db", FILE_NAME)
        found = [
            each for each in (place, *inner) if is_state_folder(each) or any((each / name).exists() for name in names)
        ]
    except OSError as error:
        raise CommandError(f"{error.filename or place} can't be read: {error.strerror}: {_READING}") from None
    if not found:
        raise CommandError(f"{place} is no state folder, and has none in it: name a node's or a pusher's by --dir")
    return found
