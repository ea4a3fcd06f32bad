"""An OCI archive: images as one tar that `ctr images import`, `podman load`, `docker load` and `skopeo copy` take.

Each image has a configuration and layers; layers that images share are in it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from tools.image.contents import Layer

_MEDIA = "application/vnd.oci.image"


class Image(NamedTuple):
    """What is run, and of what it is made."""

    name: str
    layers: Sequence[Layer]
    entry_point: Sequence[str]
    environment: Mapping[str, str]
    user: str
    workdir: str
    labels: Mapping[str, str]

    @property
    def unpacked_bytes(self) -> int:
        """What it takes on a node's disk."""
        return sum(layer.unpacked_bytes for layer in self.layers)


def write_archive(path: Path, images: Sequence[Image], time_s: int) -> dict[str, str]:
    """Writes the archive.

    Returns:
        Each image's digest, by its name.
    """
    blobs: dict[str, bytes | Path] = {}
    index = [_add(image, blobs, time_s) for image in images]
    files: dict[str, bytes | Path] = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": _json({"schemaVersion": 2, "mediaType": f"{_MEDIA}.index.v1+json", "manifests": index}),
        **{f"blobs/sha256/{digest}": content for digest, content in blobs.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            _write(tar, name, files[name], time_s)
    unfinished.rename(path)
    return {image.name: manifest["digest"] for image, manifest in zip(images, index, strict=True)}


def _add(image: Image, blobs: dict[str, bytes | Path], time_s: int) -> dict[str, Any]:
    """Adds an image's blobs; returns how the index names it."""
    for layer in image.layers:
        blobs[layer.sha256] = layer.path
    layers = [
        {
            "mediaType": f"{_MEDIA}.layer.v1.tar",
            "digest": f"sha256:{layer.sha256}",
            "size": layer.path.stat().st_size,
        }
        for layer in image.layers
    ]
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
    configuration = {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": [f"{name}={value}" for name, value in image.environment.items()],
            "Entrypoint": list(image.entry_point),
            "WorkingDir": image.workdir,
            "Labels": dict(image.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        "history": [{"created": created, "created_by": f"tools.image: {layer.path.stem}"} for layer in image.layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _blob(_json(configuration), f"{_MEDIA}.config.v1+json", blobs),
        "layers": layers,
        "annotations": dict(image.labels),
    }
    return _blob(_json(manifest), f"{_MEDIA}.manifest.v1+json", blobs) | {
        "platform": {"architecture": "amd64", "os": "linux"},
        # containerd names an image by the first; podman and skopeo find it by the second.
        "annotations": {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name},
    }


def _blob(content: bytes, media_type: str, blobs: dict[str, bytes | Path]) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _write(tar: tarfile.TarFile, name: str, content: bytes | Path, time_s: int) -> None:
    info = tarfile.TarInfo(name)
    info.mtime, info.mode = time_s, 0o644
    info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if isinstance(content, bytes):
        tar.addfile(info, BytesIO(content))
    else:
        with content.open("rb") as file:
            tar.addfile(info, file)
