"""Updates as fixed-width records, by a layout of the company's own."""

from __future__ import annotations

from pathlib import Path

from fasttree.command.session import CommandError
from services.datatrax.layouts.layout import LayoutError
from services.datatrax.layouts.records import RecordForm, Records, read_layout


def record_updates(layout: Path, source: Path) -> Records:
    """The records of a source. Raises CommandError where the layout can't be."""
    try:
        form = RecordForm(read_layout(layout))
    except LayoutError as error:
        raise CommandError(f"{layout}: {error}") from None
    except OSError as error:
        raise CommandError(f"{layout} can't be read: {error}") from None
    if str(source) == "-" and not form.names_ids:
        raise CommandError(f"{layout}: it names no update_id, and standard input has no name: add one")
    return Records(form, source.name)
