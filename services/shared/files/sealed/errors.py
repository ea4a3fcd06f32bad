"""What can be wrong with something that is sealed. Apart from the rest: whoever reads a clear file loads no cipher."""

from __future__ import annotations


class SealKeyError(Exception):
    """No key, or another one, for something that is sealed; or a file of keys that can't be used. One line that names
    the setting, the key's id and the mend. It says nothing of what is sealed: that stays where it is."""


class SealDamagedError(Exception):
    """What is sealed is not what was sealed. The text says what is wrong with it."""
