"""Finished runs: read from the record, added to it, and the learning rate they choose."""

import hashlib
import json
from pathlib import Path
from typing import Any

from paired import Row, read_rows, write_rows
from plan import BASELINE, LEARNING_RATES, MIDDLE, STUDIES, TUNING_SEED, Cell

from compactmtl.multitask.delta import relative_gain

QUESTION = "accuracy of every system of the paper at paired seeds"


class Results:
    """The cells of a record by run; what the plan no longer says is not taken over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[Cell, Row] = {}
        for row in read_rows(path):
            cell = Cell(row["study"], row["system"], row["lr"], row["seed"])
            planned = cell.study in STUDIES and cell.system in STUDIES[cell.study].systems
            if planned and row["plan"] == fingerprint(cell):
                self._rows[cell] = row

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._rows

    def __getitem__(self, cell: Cell) -> Row:
        return self._rows[cell]

    def add(self, cell: Cell, val: Any, test: Any) -> None:
        """Keep a run's metrics of the last epoch and write the record."""
        self._rows[cell] = {
            "study": cell.study,
            "system": cell.system,
            "lr": cell.lr,
            "seed": cell.seed,
            "plan": fingerprint(cell),
            "val": val,
            "test": test,
        }
        rows = sorted(self._rows.items(), key=lambda item: json.dumps(vars(item[0])))
        write_rows(self.path, QUESTION, [row for _, row in rows])

    def learning_rate(self, study: str, system: str) -> float | None:
        """Return the tried rate that is best on the validation split; None until all are there.

        Best by the mean relative gain over the dense network at the middle rate, same seed.
        """
        tried = {lr: Cell(study, system, lr, TUNING_SEED) for lr in LEARNING_RATES}
        reference = Cell(study, BASELINE, MIDDLE, TUNING_SEED)
        if reference not in self or any(cell not in self for cell in tried.values()):
            return None
        base = self[reference]["val"]
        return max(tried, key=lambda lr: relative_gain(self[tried[lr]]["val"], base))


def fingerprint(cell: Cell) -> str:
    """Return what tells one plan of a run from another: its recipe and its settings."""
    recipe = STUDIES[cell.study].recipe.read_text(encoding="utf-8")
    text = json.dumps([recipe, *cell.settings])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
