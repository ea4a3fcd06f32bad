"""Parquet files where columns are personal: as they are where they have none of those, else refused."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from services.shared.domain.sentences import quoted
from services.shared.personal.rows import PersonalValueError, places_of


def copy_without_personal(source: Path, target: Path, personal: Collection[str]) -> int:
    """Copies a file that has none of these columns; how many rows it has.

    Raises:
        PersonalValueError: It has one, or is no Parquet file.
        OSError: The disk.
    """
    try:
        file = pq.read_metadata(source)
        names = file.schema.to_arrow_schema().names
    except pa.ArrowException as error:
        raise PersonalValueError("it begins as Parquet does, and can't be read as such: write it anew") from error
    found = [quoted(names[place]) for place in places_of(names, personal)]
    if found:
        raise PersonalValueError(
            f"it is Parquet with what is personal ({', '.join(found)}), which is taken out of CSV alone: send it as CSV"
        )
    shutil.copyfile(source, target)
    return int(file.num_rows)
