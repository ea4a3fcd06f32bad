"""What somebody may leave in the upload folder and in the host file of a running cluster."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.attack.target import NotHeldOffError, Target
from fasttree.v1 import coordinator_pb2

#: A whole file beside the bad one has an answer within that time.
_TAKEN_S = 120.0
#: The host file is read each second.
_HOSTS_READ_S = 2.5
GOOD_FILE = "members.csv"
#: How those are called that not even the pusher may take; what is in a file is for the first node to refuse.
NEVER_TAKEN = ("link.csv", "zero.csv", "pipe.csv", "marker-")


def _marked(path: Path) -> None:
    path.with_name(f"{path.name}.done").touch()


class BadItems:
    """One bad thing each, put into the folder beside an honest file."""

    def __init__(self, folder: Path, good: Path, secret: Path) -> None:
        self._folder = folder
        self._good = good
        self._secret = secret

    def _copy(self, name: str, marker: bytes | None = b"") -> Path:
        path = self._folder / name
        shutil.copy(self._good, path)
        if marker is not None:
            path.with_name(f"{name}.done").write_bytes(marker)
        return path

    def link(self) -> None:
        """A link to a file that its maker may not read."""
        path = self._folder / "link.csv"
        path.symlink_to(self._secret)
        _marked(path)

    def device(self) -> None:
        """A link to a device without an end."""
        path = self._folder / "zero.csv"
        path.symlink_to("/dev/zero")
        _marked(path)

    def pipe(self) -> None:
        """A pipe that nobody writes to."""
        path = self._folder / "pipe.csv"
        os.mkfifo(path)
        _marked(path)

    def folder(self) -> None:
        """A folder where a file is due."""
        path = self._folder / "folder.csv"
        path.mkdir()
        _marked(path)

    def marker_pipe(self) -> None:
        """A marker that is a pipe."""
        path = self._copy("marker-pipe.csv", marker=None)
        os.mkfifo(path.with_name(f"{path.name}.done"))

    def marker_folder(self) -> None:
        """A marker that is a folder."""
        path = self._copy("marker-folder.csv", marker=None)
        path.with_name(f"{path.name}.done").mkdir()

    def marker_texts(self) -> None:
        """Markers that are no position."""
        texts = (
            b"-5",
            "\u0663".encode(),
            b"1.5",
            b"1_0",
            b"9" * 20,
            b"\xff\xfe1\x00",
            b"position 1",
            b"\x00",
        )
        for number, text in enumerate(texts):
            self._copy(f"marker-{number}.csv", text)
        self._copy("marker-large.csv", b"1" * 100_000)

    def names(self) -> None:
        """Names that the folder itself uses, that are too long, that no terminal should print."""
        for name in (".taking-x-y.csv", ".taking-abc-x.csv", "x\x1b]0;x\x07.csv", "x\nforged.csv", "n" * 245 + ".csv"):
            with contextlib.suppress(OSError):
                self._copy(name, marker=None)
                (self._folder / f"{name}.done").touch()
        raw = os.path.join(os.fsencode(self._folder), b"\xff\xfe.csv")
        shutil.copy(os.fsencode(self._good), raw)

    def contents(self) -> None:
        """Files that are not what their names say, and one that grows when it is unpacked."""
        contents = {
            "empty.csv": b"",
            "zeros.csv": bytes(1 << 20),
            "text.parquet": b"PAR1" + os.urandom(1 << 16) + b"PAR1",
            "short.parquet": b"PAR1",
            "broken.csv.gz": b"\x1f\x8b\x08\x00" + os.urandom(1 << 12),
            "members.csv.gz": gzip.compress(b"") * 20_000,
            "bomb.csv.gz": gzip.compress(b"member_id,sponsor_id,status,rank,joined_on,pv\n" + bytes(100 << 20)),
            "header.csv": b"member_id" + b",x" * 200_000 + b"\n",
            "line.csv": b"member_id,sponsor_id,status,rank,joined_on,pv\n" + b"1" * (8 << 20),
            "escape.csv": b"member_id,sponsor_id,status,rank,joined_on,pv,\x1b]0;x\x07\n1,,A,1,2020-01-01,5,x\n",
        }
        for name, content in contents.items():
            path = self._folder / name
            path.write_bytes(content)
            _marked(path)

    def all_of_them(self) -> list[Callable[[], None]]:
        """Each of them alone."""
        return [
            self.link,
            self.device,
            self.pipe,
            self.folder,
            self.marker_pipe,
            self.marker_folder,
            self.marker_texts,
            self.names,
            self.contents,
        ]


async def upload_folder(target: Target) -> str:
    """Links, pipes, folders, devices, strange names, markers and contents: the honest file beside each is taken."""
    folder = target.folder / "upload"
    good = target.folder / GOOD_FILE
    secret = target.folder / "secret"
    secret.write_text("member_id,sponsor_id,status,rank,joined_on,pv\nSECRET,,A,1,2020-01-01,5\n")
    items = BadItems(folder, good, secret)
    for put in items.all_of_them():
        put()
        await _is_taken(target, good, f"after-{put.__name__}.csv")
        done = [path.name for path in (folder / "done").iterdir()]
        wrong = [name for name in done if name.startswith(NEVER_TAKEN)]
        if wrong:
            raise NotHeldOffError(f"taken: {wrong}")
    return "an honest file beside each was taken"


async def _is_taken(target: Target, good: Path, name: str) -> None:
    """Raises NotHeldOffError where an honest file is not taken."""
    part = target.folder / "upload" / f"{name}.filepart"
    await asyncio.to_thread(shutil.copy, good, part)
    path = part.with_name(name)
    part.rename(path)
    _marked(path)
    deadline = asyncio.get_running_loop().time() + _TAKEN_S
    while not (target.folder / "upload" / "done" / name).exists():
        if asyncio.get_running_loop().time() > deadline:
            left = sorted(map(str, (target.folder / "upload").rglob("*")))
            raise NotHeldOffError(f"{name} is not taken after {_TAKEN_S:.0f} s; the folder has {left}")
        await asyncio.sleep(0.1)


async def hosts_file(target: Target) -> str:
    """Host files of a hundred thousand lines, of odd ports and hosts, of bytes: the nodes that are known stay."""
    path = target.folder / "hosts.50201"
    whole = path.read_bytes()
    before = len((await target.coordinator.GetCluster(coordinator_pb2.GetClusterRequest())).cluster.nodes)
    contents = (
        b"h " + b"9" * 5_000 + b" 1\n",
        "h \u0663\u0663 \u0664\u0664\n".encode(),
        bytes(range(256)) * 1_000,
        b"\x1b[31m 1 2\n",
        b"unix:/etc/x 1 2\n",
        b"a" * (20 << 20) + b" 1 2\n",
        b"".join(b"h%d 50100 50201\n" % number for number in range(100_000)),
        b"",
    )
    try:
        for content in contents:
            path.write_bytes(content)
            await asyncio.sleep(_HOSTS_READ_S)
            answer = await target.coordinator.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=10)
            if len(answer.cluster.nodes) < before or not answer.cluster.primary:
                raise NotHeldOffError(f"after a host file of {content[:20]!r} the cluster is {answer.cluster}")
    finally:
        path.write_bytes(whole)
    return f"{len(contents)} files, the nodes stay"


ATTACKS = (upload_folder, hosts_file)
