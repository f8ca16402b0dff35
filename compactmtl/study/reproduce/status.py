"""What of a table can be run here."""

import os
from pathlib import Path

from compactmtl.data import DATASETS
from compactmtl.data.folder import VARIABLE
from compactmtl.study.reproduce.tables import Table

REPRODUCIBLE = "reproducible"


def lacking(table: Table) -> str:
    """Return what the library lacks for a table; "" for nothing."""
    if table.needs or table.drawing or table.data in DATASETS:
        return table.needs
    return f"data set `{table.data}`"


def status(table: Table) -> str:
    """Return "reproducible", or what is missing, in words; looks at no file's content."""
    if table.drawing:
        return table.drawing
    if lacking(table):
        return f"needs {lacking(table)}"
    entry = DATASETS[table.data]
    root = os.environ.get(VARIABLE)
    if root and (Path(root).expanduser() / (entry.folder or entry.name)).exists():
        return REPRODUCIBLE
    return f"needs data: `{entry.folder or entry.name}` in --data DIR"
