"""`fasttree bundle`."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from pathlib import Path
from typing import TypedDict

import click

from fasttree.command.bundle.gathering import Contents, gather
from fasttree.command.output import print_json
from fasttree.command.ranges import WholeRange
from fasttree.command.session import CommandError, Session, common_options, run
from fasttree.command.shapes import prints
from services.shared.files.durable import write_new_durably

_LOG_KB = 2_048
_FOLDER = "fasttree-bundle"


class BundleJson(TypedDict):
    """The archive, and the files in it."""

    file: str
    size_bytes: int
    contents: list[str]


@click.command()
@prints(BundleJson)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The archive; {_FOLDER}-TIME.tar.gz in this folder where not given.",
)
@click.option(
    "--log",
    "further_logs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="One more log, such as what journalctl printed; those of `fasttree up` are in it by themselves.",
)
@click.option(
    "--log-kb",
    type=WholeRange(1, 1 << 20),
    default=_LOG_KB,
    show_default=True,
    help="The last so many kilobytes of each log.",
)
@common_options
def bundle(session: Session, out: Path | None, further_logs: tuple[Path, ...], log_kb: int) -> None:
    """Puts what somebody needs who helps from afar into one archive, which its owner alone may read.

    Status, figures, settings, versions, the doctor's findings and the ends of logs; no secret, no file of keys or
    tokens, no update, and of a log's words those alone that the product's own code has. Look into it before it is sent:
    it is text.
    """
    path = out or Path(time.strftime(f"{_FOLDER}-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    if path.exists():
        raise _is_there(path)
    home = _home(session)
    logs = {each.stem: each for each in sorted((home / "logs").glob("*.log"))} if home is not None else {}
    for further in further_logs:
        logs[_free_name(further.stem, logs)] = further
    settings = home / "cluster.toml" if home is not None and (home / "cluster.toml").exists() else None
    contents = run(gather(session, logs, settings, log_kb << 10))
    try:
        if not write_new_durably(path, packed(contents, int(time.time()))):
            raise _is_there(path)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from None
    if session.json:
        print_json(BundleJson(file=str(path), size_bytes=path.stat().st_size, contents=sorted(contents)))
    else:
        click.echo(
            f"{path}: {len(contents)} files, {path.stat().st_size / 1e3:.0f} kB; look into it before you send it"
        )


def _is_there(path: Path) -> CommandError:
    return CommandError(f"{path} is there already: name another file with --out, or remove it")


def _home(session: Session) -> Path | None:
    """The folder of the cluster of `fasttree up`, if it is one."""
    with contextlib.suppress(CommandError):
        return session.endpoints_file().parent
    return None


def _free_name(wanted: str, taken: dict[str, Path]) -> str:
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def packed(contents: Contents, at_s: int) -> bytes:
    """As tar.gz: the names in their order, each for its owner alone."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(contents):
            entry = tarfile.TarInfo(f"{_FOLDER}/{name}")
            entry.size, entry.mode, entry.mtime = len(contents[name]), 0o600, at_s
            archive.addfile(entry, io.BytesIO(contents[name]))
    return made.getvalue()
