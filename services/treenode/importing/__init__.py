"""Import files: CSV, gzipped CSV and Parquet, checked whole and read into columns, or refused row by row."""

from services.treenode.importing.limits import ImportLimits
from services.treenode.importing.reader import read_import
from services.treenode.importing.refusal import ImportRefused, RejectedRow
from services.treenode.importing.source import FileFormat
from services.treenode.importing.table_memory import TableBrokenError, TableMemory, read_table

__all__ = [
    "FileFormat",
    "ImportLimits",
    "ImportRefused",
    "RejectedRow",
    "TableBrokenError",
    "TableMemory",
    "read_import",
    "read_table",
]
