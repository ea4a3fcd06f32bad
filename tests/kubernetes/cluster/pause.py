"""The image of a pod's first process."""

from __future__ import annotations

from pathlib import Path

from tests.kubernetes.binaries import found
from tools.image.archive import Image, write_archive
from tools.image.contents import Contents

NAME = "localhost/pause:1"


def pause_image(path: Path) -> Path:
    """Writes it as an archive."""
    contents = Contents()
    contents.add_path(found(("pause",))["pause"], "pause")
    layer = contents.write(path.with_name("pause-layer.tar"))
    write_archive(path, [Image(NAME, [layer], ("/pause",), {}, "65535:65535", "/", {})], 0)
    return path
