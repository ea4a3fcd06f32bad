"""What a place for objects has to do, and what it says when it can't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.shared.serving.errors import DataLossError, UnavailableError

_RETRY_AFTER_S = 1.0


class StoreAwayError(UnavailableError):
    """The store does not answer, or refuses: whether it did what was asked is not known. Says which one, and where."""

    #: Callers are told of the store of import files alone.
    default_reason = "IMPORT_STORE_AWAY"

    def __init__(self, store: str, what: str) -> None:
        super().__init__(f"{store}: {what}", retry_after_s=_RETRY_AFTER_S)


class ObjectDamagedError(DataLossError):
    """An object is not what was put. Names it."""

    default_reason = "IMPORT_DAMAGED"


class ObjectMissingError(Exception):
    """There is no object of that name."""


class Objects(Protocol):
    """Objects by name, in one place. A name has two levels of a-z 0-9 and -, with / between.

    Every call ends within its timeout, cancelled or not. Each raises StoreAwayError; a put that does may have been done
    all the same.
    """

    #: Where it is, for people.
    place: str

    def full_name(self, name: str) -> str:
        """What people find the object by."""
        ...

    async def put_new(self, name: str, data: bytes) -> bool:
        """Puts an object whole or not at all, durably, where none has the name; False: one has, and is as it was.

        Raises ResourceExhaustedError where there is no room.
        """
        ...

    async def get(self, name: str, bytes_max: int) -> bytes:
        """What was put. Raises ObjectMissingError; ObjectDamagedError where it has more than `bytes_max`."""
        ...

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Every object whose name is the prefix, a / and more ("": every one), with its size in bytes. What was put
        before the call is among them."""
        ...

    async def remove(self, names: Sequence[str]) -> None:
        """Removes objects, in any order; one that is not there is no error."""
        ...
