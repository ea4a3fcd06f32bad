"""The file on its disk: looked at again and again, and what comes of it told."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path

from services.datatrax.cbldatatrax.checks import faults_of
from services.datatrax.cbldatatrax.configuration import Configuration, configuration_of
from services.datatrax.cbldatatrax.file import BYTES_MAX
from services.datatrax.cbldatatrax.keys import AT_ONCE
from services.datatrax.cbldatatrax.lines import Fault
from services.datatrax.in_force.following import Change, Following, Looked, Take
from services.datatrax.in_force.gate import why_closed
from services.shared.config.hosts_file import hosts_by_line, read_lines
from services.shared.config.load import SettingsError
from services.shared.config.text_file import read_text_file
from services.shared.domain.addresses import Host
from services.shared.domain.sentences import plain
from services.shared.files.durable import make_folder, write_durably

logger = logging.getLogger(__name__)


def look(path: Path, hosts_file: Path | None) -> Looked:
    """What lies there now. Blocks: it reads the disk. `hosts_file`: is held against it, where it is there and good."""
    try:
        text = read_text_file(path, BYTES_MAX, or_latin_1=True)
    except OSError as error:
        reason = f"can't read it: {error}"
        return Looked(reason, None, (Fault(0, reason),))
    configuration = configuration_of(text)
    hosts = _hosts(hosts_file)
    faults = faults_of(configuration, hosts_file, hosts)
    # The same file may be good beside one host file, and not beside the next.
    seen = hashlib.blake2b(f"{text}\0{faults}".encode(errors="replace")).hexdigest()
    return Looked(seen, configuration, tuple(faults), text)


def _hosts(hosts_file: Path | None) -> dict[int, Host]:
    """None where it can't be read, or has a fault: that is told by those who go by it."""
    if hosts_file is None or not hosts_file.exists():
        return {}
    try:
        return hosts_by_line(hosts_file, read_lines(hosts_file))
    except SettingsError:
        return {}


class WatchedConfiguration:
    """CBLDATATRAX as it is in force for one environment. `run` is its life.

    Raises:
        SettingsError: The file can't be in force: with the first fault.
    """

    def __init__(self, path: Path, environment: str, hosts_file: Path | None, poll_s: float, kept: Path) -> None:
        """`kept`: what was last in force, for a start beside a file that has a fault by then."""
        self.path, self.environment = path.absolute(), environment
        self._hosts_file, self._poll_s, self._kept = hosts_file, poll_s, kept
        first = first_look(self.path, hosts_file, kept)
        self._following = Following(environment, first)
        self.changes_taken = self.files_refused = 0
        self._keep(first)

    @property
    def in_force(self) -> Configuration:
        """Every value, those of other environments too."""
        return self._following.in_force

    @property
    def faults(self) -> list[Fault]:
        """Why the file as it lies there is not in force; none: it is."""
        return list(self._following.faults)

    @property
    def waiting(self) -> list[Change]:
        """What it says, and has its effect at another start only."""
        return self._following.waiting

    def why_closed(self) -> str:
        """Why the local port and the spool take nothing; empty where they do."""
        return why_closed(self.in_force, self.environment)

    async def run(self) -> None:
        """For as long as the process runs."""
        while True:
            await asyncio.sleep(self._poll_s)
            looked = await asyncio.to_thread(look, self.path, self._hosts_file)
            for action in self._following.handle(looked):
                if isinstance(action, Take):
                    self._tell_taken(action.changes)
                    await asyncio.to_thread(self._keep, looked)
                else:
                    self._tell_refused(action.faults)

    def _keep(self, looked: Looked) -> None:
        """Blocks. Without it all goes on, until a start beside a file with a fault."""
        try:
            make_folder(self._kept.parent)
            write_durably(self._kept, looked.text.encode(errors="replace"))
        except OSError as error:
            logger.warning("%s can't be written: %s; a start needs %s without a fault", self._kept, error, self.path)

    def _tell_taken(self, changes: tuple[Change, ...]) -> None:
        self.changes_taken += len(changes)
        if not changes:
            logger.info("%s is good; it says nothing else for %s", self.path, self.environment)
        for each in changes:
            when = "in force now" if each.when == AT_ONCE else f"takes effect {each.when}"
            place = f"line {each.line}" if each.line else "by default"
            said = f"{each.name} is {_shown(each.after)}, was {_shown(each.before)}"
            logger.warning("%s, %s: %s; %s", self.path, place, said, when)

    def _tell_refused(self, faults: tuple[Fault, ...]) -> None:
        self.files_refused += 1
        for fault in faults[:_FAULTS_TOLD_MAX]:
            logger.error("%s is refused, and changes nothing: %s", self.path, placed(fault))
        if len(faults) > _FAULTS_TOLD_MAX:
            logger.error("%s: and %d faults more", self.path, len(faults) - _FAULTS_TOLD_MAX)


#: Of one file that are told.
_FAULTS_TOLD_MAX = 20


def first_look(path: Path, hosts_file: Path | None, kept: Path) -> Looked:
    """The file where it has no fault; else what was last in force, beside which the file is refused soon.

    Blocks. Raises SettingsError where neither is without a fault: with the first one of the file.
    """
    looked = look(path, hosts_file)
    if looked.faults and kept.exists():
        before = look(kept, hosts_file)
        if not before.faults:
            logger.error("%s has a fault: goes by what was last in force (%s)", path, kept)
            return before
    sound(looked, path)
    return looked


def sound(looked: Looked, path: Path) -> Configuration:
    """What it says, where it has no fault. Raises SettingsError with the first one and the number of the others."""
    if looked.faults or looked.configuration is None:
        first, more = looked.faults[0], len(looked.faults) - 1
        others = f", and {more} more" if more else ""
        raise SettingsError(f"{path}: {placed(first)}{others}; `fasttree datatrax config check` lists every fault")
    return looked.configuration


def placed(fault: Fault) -> str:
    """The fault with its line."""
    return plain(f"line {fault.line}: {fault.text}" if fault.line else fault.text)


def _shown(text: str) -> str:
    return plain(text) or "empty"
