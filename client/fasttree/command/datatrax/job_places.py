"""Where a job works, and what CBLDATATRAX says of it: read by the code that knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fasttree.command.session import CommandError
from services.datatrax.cbldatatrax.keys import ZIP_FORMATS
from services.datatrax.in_force.watching import look, sound
from services.shared.config.load import SettingsError

_CBLDATATRAX = "CBLDATATRAX"
_PORT = 50201


@dataclass(frozen=True)
class JobPlace:
    """The folder of a port, and how files are sent from it."""

    #: Such as /datatrax/fasttree/FT50201.
    folder: Path
    #: gzip, zip, zstd or none.
    packing: str = "none"
    #: Files are written first, and sent by a later run.
    is_decoupled: bool = False

    @property
    def layouts(self) -> Path:
        return self.folder / "layouts"

    @property
    def locks(self) -> Path:
        return self.folder / "jobs"


def job_place(*, folder: Path, port: int | None, file: Path | None) -> JobPlace:
    """Raises CommandError where the folder is not there, or the file has a fault."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder: name DataTrax's by --datatrax DIR")
    if file is None:
        usual = folder / _CBLDATATRAX
        file = usual if usual.exists() else None
    if file is None:
        return JobPlace(folder.absolute() / f"FT{port or _PORT}")
    try:
        found = sound(look(file, None), file)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    is_packed = found.common["zipped-transfer"].text.upper() == "Y"
    return JobPlace(
        folder.absolute() / f"FT{port or found.instant_port}",
        packing=ZIP_FORMATS[found.common["zip-process"].text.lower()] if is_packed else "none",
        is_decoupled=found.common["decoupled-transfer"].text.upper() == "Y",
    )
