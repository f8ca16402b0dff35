"""Finished cells: read from the record and added to it."""

from pathlib import Path
from typing import Any

from paired import Row, read_rows, write_rows
from plan import STUDIES, Cell, fingerprint, subjects

QUESTION = "what group sparsity costs and gains, against the controls it needs, at paired seeds"


class Results:
    """The cells of a record by run; what the plan no longer says is not taken over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[Cell, Row] = {}
        for row in read_rows(path):
            cell = Cell(row["study"], row["system"], row["seed"])
            planned = cell.study in STUDIES and cell.system in subjects(cell.study)
            if planned and row["plan"] == fingerprint(cell.study, cell.system):
                self._rows[cell] = row

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._rows

    def __getitem__(self, cell: Cell) -> Row:
        return self._rows[cell]

    def add(self, cell: Cell, found: dict[str, Any]) -> None:
        """Keep what a run gave and write the record."""
        own = {"study": cell.study, "system": cell.system, "seed": cell.seed}
        self._rows[cell] = {**own, "plan": fingerprint(cell.study, cell.system), **found}
        place = {
            (study, system): (number, index)
            for number, study in enumerate(STUDIES)
            for index, system in enumerate(subjects(study))
        }
        cells = sorted(self._rows, key=lambda cell: (*place[cell.study, cell.system], cell.seed))
        write_rows(self.path, QUESTION, [self._rows[each] for each in cells])
