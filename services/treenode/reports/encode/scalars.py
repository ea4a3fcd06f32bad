"""The type of a kernel's scalars."""

from __future__ import annotations

from typing import Any, TypeAlias

#: A whole number within a kernel: Python's int and NumPy's are the same there, and mypy must not tell them apart.
Whole: TypeAlias = Any
