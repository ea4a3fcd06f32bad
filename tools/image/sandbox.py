"""A program in a folder as its root: read-only, as any user, with the few writable folders that a pod has.

What a container engine does, by `unshare`, `mount` and `chroot`: mounts and processes of its own, nothing is left when
it ends. It needs root.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def command_in(
    root: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    user: int,
    binds: Mapping[str, Path],
) -> list[str]:
    """The command line that runs a program there.

    Args:
        root: Where the image is unpacked.
        arguments: The program and its arguments.
        environment: All that it is told.
        user: Its user and group, known to nobody.
        binds: Folders of this machine, writable, by the path that they have inside.
    """
    inside = shlex.quote(str(root))
    lines = [
        "set -e",
        f"mount --bind {inside} {inside}",
        f"mount -o remount,bind,ro {inside}",
        f"mount -t proc proc {inside}/proc",
        f"mount -t tmpfs tmpfs {inside}/dev",
        *(
            f"touch {inside}/dev/{device} && mount --bind /dev/{device} {inside}/dev/{device}"
            for device in ("null", "zero", "urandom")
        ),
        f"mkdir {inside}/dev/shm && chmod 1777 {inside}/dev/shm",
        *(f"mount --bind {shlex.quote(str(folder))} {inside}{shlex.quote(path)}" for path, folder in binds.items()),
        f"exec chroot --userspec={user}:{user} {inside} /usr/bin/env -i "
        + shlex.join([*(f"{name}={value}" for name, value in environment.items()), *arguments]),
    ]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--propagation", "private"]
    return [*unshare, "sh", "-c", "\n".join(lines)]


def run_in(
    root: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    user: int,
    binds: Mapping[str, Path],
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    command = command_in(root, arguments, environment, user=user, binds=binds)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, stdin=subprocess.DEVNULL)
