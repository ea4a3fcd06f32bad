"""grpcurl and ghz, built from Go modules whose versions `grpc_tools/` pins: python -m tests.end_to_end.go_programs

They are kept outside the clone, beside Kubernetes' programs and with their Go and its caches; the first time takes
minutes.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.kubernetes.binaries import go, go_environment, home

LOCKS = Path(__file__).parent / "grpc_tools"
PACKAGES = {
    "ghz": "github.com/bojand/ghz/cmd/ghz",
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl",
}


def tell(line: str) -> None:
    """On the way."""
    print(line, file=sys.stderr, flush=True)


def programs() -> Path:
    """A folder with both in it. Raises CalledProcessError, BuildError where they can't be built."""
    content = b"".join(path.read_bytes() for path in sorted(LOCKS.rglob("go.*")))
    kept = home() / "programs" / f"grpc-tools-{hashlib.sha256(content).hexdigest()[:16]}"
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            tell(f"building {', '.join(PACKAGES)} into {kept}: once, some minutes")
            unfinished = kept.with_name(f".{kept.name}")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            for name, package in PACKAGES.items():
                command = [go(tell), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(unfinished), package]
                subprocess.run(command, cwd=LOCKS / name, env=go_environment(), check=True, stdin=subprocess.DEVNULL)
            unfinished.rename(kept)
    return kept


if __name__ == "__main__":
    print(programs())
