"""`[sealing]`: whether what a process keeps on its disk is sealed, and by which keys."""

from __future__ import annotations

from services.shared.config.bounds import Flag, OptionalFile, Seconds
from services.shared.config.sections import Settings


class SealingSettings(Settings, frozen=True, kw_only=True):
    """Of nodes and pushers; each may have keys of its own."""

    #: A file of keys, as `fasttree keys init` makes it, for its owner alone (0600): the first one seals, all open.
    #: Empty: nothing is sealed.
    key_file: OptionalFile = ""
    #: Whether what is written from now on is sealed. false: it is clear, and the keys open what was sealed before:
    #: the way back.
    seals: Flag = True
    #: How often the file is looked at for another first key, in seconds.
    reload_s: Seconds = 1.0
