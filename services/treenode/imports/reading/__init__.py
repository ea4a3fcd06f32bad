"""Import files: CSV, packed or not, and Parquet, checked whole and read into columns, or refused row by row."""

from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading.reader import read_import
from services.treenode.imports.reading.refusal import ImportRefusedError, Refusal, refuse_tree
from services.treenode.imports.reading.source import FileFormat
from services.treenode.imports.reading.table_memory import TableBrokenError, TableMemory, read_table

__all__ = [
    "FileFormat",
    "ImportLimits",
    "ImportRefusedError",
    "Refusal",
    "TableBrokenError",
    "TableMemory",
    "read_import",
    "read_table",
    "refuse_tree",
]
