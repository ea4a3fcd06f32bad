"""This machine: Python, the packages, the compiled kernels."""

from __future__ import annotations

import asyncio
import json
import platform
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from importlib import metadata

from fasttree.command.doctor.findings import Finding
from fasttree.command.processes import inherited_environment, process_environment, python_command

_PACKAGE = "ha-fasttree"
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?\s*([^;]*)(;.*)?")
_BOUND = re.compile(r"(>=|==|<)\s*([\w.]+)")
#: Hashing the kernels' sources and loading numba, on a busy machine.
_KERNELS_S = 60.0


def installed_versions() -> dict[str, str]:
    """Of Python, the package, and each package that it needs; empty: it is not there."""
    found = {"Python": platform.python_version(), _PACKAGE: _version(_PACKAGE)}
    return found | {name: _version(name) for name, _ in _required()}


def _required() -> Iterator[tuple[str, str]]:
    """Name and bounds of what has to be there, whatever it is used for."""
    try:
        requirements = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        name, bounds, condition = _REQUIREMENT.fullmatch(requirement.strip()).groups()  # type: ignore[union-attr]
        if condition is None:  # else of an extra
            yield name, bounds


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


async def packages() -> AsyncIterator[Finding]:
    """Each that the package needs is there, in a version that it can use."""
    for name, bounds in _required():
        version = _version(name)
        if problem := version_problem(name, version, bounds):
            pip = shlex.join(python_command("pip", "install", "--upgrade", f"{name}{bounds}"))
            mend = f"{pip}, or install ha-fasttree anew"
            yield Finding(check="packages", text=problem, mend=mend)


def version_problem(name: str, version: str, bounds: str) -> str:
    """Why a version is none that can be used; empty: it can be. `bounds`: such as ">=1.6,<2"."""
    if not version:
        return f"the package {name} is missing"
    for relation, bound in _BOUND.findall(bounds):
        own, other = _numbers(version), _numbers(bound)
        if (
            (relation == ">=" and own < other)
            or (relation == "<" and own >= other)
            or (relation == "==" and own != other)
        ):
            return f"the package {name} is {version}, and {relation}{bound} is needed"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version))


async def kernels() -> AsyncIterator[Finding]:
    """They are compiled and kept, as a node of this user would find them."""
    process = await asyncio.create_subprocess_exec(
        *python_command("services.treenode.kernels.standing"),
        env=inherited_environment() | process_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_KERNELS_S):
            out, err = await process.communicate()
        standing = json.loads(out)
    except (TimeoutError, ValueError) as error:
        last = "" if isinstance(error, TimeoutError) else err.decode(errors="replace").strip().rpartition("\n")[2]
        text = f"a node's code can't be loaded here: {last or f'not within {_KERNELS_S:g} s'}"
        yield Finding(check="kernels", text=text, mend="install ha-fasttree anew, for this Python and this machine")
        return
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not standing["folder"]:
        mend = "set NUMBA_CACHE_DIR to a folder that this user may write"
        text = "the tree's kernels can't be kept, so each start of a node compiles them for a minute"
        yield Finding(check="kernels", text=text, mend=mend, fault=False)
    elif not standing["complete"]:
        text = f"the tree's kernels are not all in {standing['folder']}: the first start of a node takes a minute"
        mend = shlex.join(python_command("services.treenode.kernels.warm_up"))
        yield Finding(check="kernels", text=text, mend=mend, fault=False)
