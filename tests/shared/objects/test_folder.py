"""Objects in a folder that hangs, is full or fails."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from services.pusher.import_store.settings import ImportStoreSettings
from services.shared.objects import folder as folder_store
from services.shared.objects.folder import FolderObjects
from services.shared.objects.objects import ObjectDamagedError, StoreAwayError
from services.shared.objects.opening import plain_name
from services.shared.objects.places import Place
from services.shared.serving.errors import ResourceExhaustedError


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    path = tmp_path / "mount"
    path.mkdir()
    return path


def place_of(mount: Path, timeout_s: float) -> Place:
    return ImportStoreSettings(import_folder=str(mount), import_request_timeout_s=timeout_s).place


async def test_a_folder_that_hangs_or_is_full_says_so(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    def hang(path: Path, data: bytes) -> bool:
        return goes_on.wait()

    def full(path: Path, data: bytes) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    def failing(path: Path, data: bytes) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    objects = FolderObjects(place_of(mount, 0.01), "company")
    monkeypatch.setattr(folder_store, "write_new_durably", hang)
    with pytest.raises(StoreAwayError, match=r"no answer in 0\.01 s; look after the mount"):
        await objects.put_new("a-1/0", b"x")
    goes_on.set()
    objects = FolderObjects(place_of(mount, 60.0), "company")
    monkeypatch.setattr(folder_store, "write_new_durably", full)
    with pytest.raises(ResourceExhaustedError, match=f"{mount} is full"):
        await objects.put_new("a-1/0", b"x")
    monkeypatch.setattr(folder_store, "write_new_durably", failing)
    with pytest.raises(StoreAwayError, match="Input/output error"):
        await objects.put_new("a-1/0", b"x")


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "loop"])
async def test_what_stands_under_a_name_and_is_no_file_is_damage_of_this_object(mount: Path, kind: str) -> None:
    """A pipe that is opened as a file would hold up the thread for good; and the store is there, for all others."""
    objects = FolderObjects(place_of(mount, 60.0), "company")
    assert await objects.put_new("a-1/0", b"x")
    path = mount / "company" / "a-1" / "whole"
    with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(path.parent):
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "socket":
            bound.bind(path.name)  # a whole path may be too long for it
        else:
            path.symlink_to(path)
    with pytest.raises(ObjectDamagedError, match=f"{path} is no file"):
        await objects.get("a-1/whole", 100)
    assert await objects.get("a-1/0", 100) == b"x"


async def test_an_object_that_can_not_be_read_says_nothing_of_the_others(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad block, or what somebody copied there as another user; until all of them are so."""
    objects = FolderObjects(place_of(mount, 60.0), "company")
    for name in ("a-1/0", "b-1/0", "b-1/whole"):
        assert await objects.put_new(name, b"x")
    (mount / "company/a-1/whole").symlink_to("/proc/self/mem")  # reads of it fail with EIO
    with pytest.raises(ObjectDamagedError, match="a-1/whole can't be read: Input/output error; look after its rights"):
        await objects.get("a-1/whole", 100)
    open_as_is, scan_as_is = os.open, os.scandir
    refused = f"{mount}/company/b-1"

    def open_refused(path: Any, *given: Any, **more: Any) -> int:
        if str(path).startswith(refused):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_as_is(path, *given, **more)

    def scan_refused(path: Any) -> Any:
        if str(path).startswith(refused):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan_as_is(path)

    monkeypatch.setattr(os, "open", open_refused)
    monkeypatch.setattr(os, "scandir", scan_refused)
    with pytest.raises(ObjectDamagedError, match="b-1/0 can't be read: Permission denied"):
        await objects.get("b-1/0", 100)
    assert set(await objects.sizes("")) == {"a-1/0", "a-1/whole"}
    assert await objects.sizes("b-1") == {}
    assert await objects.get("a-1/0", 100) == b"x"
    refused = f"{mount}/company"
    with pytest.raises(StoreAwayError, match="Permission denied; mend the rights there"):
        await objects.get("a-1/0", 100)
    with pytest.raises(StoreAwayError, match="Permission denied"):
        await objects.sizes("")


async def test_what_is_named_as_the_folder_and_is_none_is_told_so(mount: Path) -> None:
    objects = FolderObjects(place_of(mount / "file", 60.0), "company")
    with pytest.raises(StoreAwayError, match="the folder is not there; mount it"):
        await objects.sizes("")
    (mount / "file").write_text("x")
    with pytest.raises(StoreAwayError, match="it is no folder; name one"):
        await objects.sizes("")


@pytest.mark.parametrize(
    ("cluster", "name"), [("dot-live", "dot-live"), ("..", "=2E=2E"), ("a/b", "a=2Fb"), ("a=b", "a=3Db")]
)
def test_a_clusters_name_is_one_folders(cluster: str, name: str) -> None:
    assert plain_name(cluster) == name
