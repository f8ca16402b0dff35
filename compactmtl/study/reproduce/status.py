"""What of a table can be run here."""

import os
from pathlib import Path

from compactmtl.data import DATASETS
from compactmtl.data.folder import VARIABLE
from compactmtl.study.reproduce.tables import Table

REPRODUCIBLE = "reproducible"


def status(table: Table) -> str:
    """Return "reproducible", or what is missing, in words; looks at no file's content."""
    if table.drawing:
        return table.drawing
    if table.needs:
        return f"needs {table.needs}"
    entry = DATASETS[table.data]
    root = os.environ.get(VARIABLE)
    if root and (Path(root).expanduser() / (entry.folder or entry.name)).exists():
        return REPRODUCIBLE
    return f"needs data: `{entry.folder or entry.name}` in --data DIR"
