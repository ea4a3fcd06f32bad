"""Puts a changed module's code into the module that is loaded: whoever has imported it goes on with the mutant."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

#: In the names of nested functions as Python gives them.
_LOCALS = "<locals>."


def put_in(module: ModuleType, tree: ast.Module, line: int, function: str) -> None:
    """Makes what `tree` says true in a loaded module.

    Args:
        tree: The module's syntax tree with the change in it.
        line: Where the change is.
        function: The function that it is in, names joined by dots; "module" outside of all.
    """
    for value in vars(module).values():
        if isinstance(value, functools._lru_cache_wrapper):
            value.cache_clear()
    if function == "module":
        _assign_again(module, tree, line)
        return
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(tree, str(module.__file__), "exec"), changed.__dict__)
    others = dict(_functions(changed))
    for name, old in _functions(module):
        if (new := others.get(name)) is not None and function_name(old) in _with_those_around(function):
            old.__code__ = new.__code__
            old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__


def function_name(function: FunctionType) -> str:
    """A function's name as mutants have it."""
    return function.__qualname__.replace(_LOCALS, "")


def _with_those_around(function: str) -> set[str]:
    # A nested function is a part of the code of the one around it.
    parts = function.split(".")
    return {".".join(parts[: count + 1]) for count in range(len(parts))}


def _functions(owner: ModuleType | type) -> Iterator[tuple[str, FunctionType]]:
    """The functions of a module and its classes, out of whatever is wrapped around them."""
    home = owner.__name__ if isinstance(owner, ModuleType) else owner.__module__
    for value in vars(owner).values():
        if isinstance(value, type) and value.__module__ == home:
            yield from _functions(value)
        parts: tuple[Any, ...] = (value,)
        if isinstance(value, property):
            parts = (value.fget, value.fset)
        elif isinstance(value, functools.cached_property):
            parts = (value.func,)
        for part in parts:
            inner: Any = part.__func__ if isinstance(part, staticmethod | classmethod) else part
            inner = inspect.unwrap(inner) if callable(inner) and not isinstance(inner, type) else inner
            if isinstance(inner, FunctionType) and inner.__module__ == home:
                yield function_name(inner), inner


def _assign_again(module: ModuleType, tree: ast.Module, line: int) -> None:
    """Runs the one assignment that was changed, and hands its value to everyone who has the old one."""
    statement = next(node for node in tree.body if node.lineno <= line <= (node.end_lineno or node.lineno))
    before = dict(vars(module))
    exec(compile(ast.Module([statement], []), str(module.__file__), "exec"), module.__dict__)
    for name, value in vars(module).items():
        if name in before and before[name] is not value:
            for other in list(sys.modules.values()):
                if getattr(other, "__dict__", {}).get(name) is before[name]:
                    setattr(other, name, value)
