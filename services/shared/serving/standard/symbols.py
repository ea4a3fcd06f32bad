"""What server reflection finds by name: all that stock tools ask for."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool


class Symbols:
    """Protobuf's pool, which also knows where a method stands, and a value of an enum under the enum's own name.

    `grpcurl describe fasttree.v1.ReportService.GetMember` and ghz ask for these; the pool itself knows them not.
    """

    def __init__(self) -> None:
        self._pool: Any = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        """The file in which a symbol stands. Raises KeyError where nothing has this name."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            owner, _, name = symbol.rpartition(".")
            file = self._pool.FindFileContainingSymbol(owner)
            if name in _members(file, owner):
                return file
            raise

    def __getattr__(self, name: str) -> Any:
        """Everything else is the pool's."""
        return getattr(self._pool, name)


def _members(file: Any, owner: str) -> frozenset[str]:
    """Names of a service's methods, or of an enum's values."""
    short = owner.rpartition(".")[2]
    if (service := file.services_by_name.get(short)) is not None and service.full_name == owner:
        return frozenset(service.methods_by_name)
    if (values := file.enum_types_by_name.get(short)) is not None and values.full_name == owner:
        return frozenset(values.values_by_name)
    return frozenset()
