"""What `data check` prints of what it found."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from compactmtl.cli.console import console
from compactmtl.data.check import DataCheck
from compactmtl.data.layouts import Found
from compactmtl.errors import DataError

COLUMNS = ["split", "task", "labelled", "of", "valid", "lowest", "highest", "classes"]


def report(checked: list[tuple[Found | None, DataCheck | None]], out: Path) -> int:
    """Print what was found, draw samples into ``out``, and return the exit code."""
    documents: list[dict[str, Any]] = []
    num_problems, rows = 0, []
    for found, result in checked:
        if result is None:
            assert found is not None
            num_problems += len(found.missing)
            for file in found.missing:
                console.error(f"{found.known.name}: `{found.place / file}` is missing")
            console.info(f"{found.known.name} is: {found.known.layout}; {found.known.origin}")
            missing = {"data": found.known.name, "folder": str(found.place)}
            documents.append({**missing, "missing": list(found.missing)})
            continue
        num_problems += result.num_problems
        rows += result.rows
        console.table(result.name, COLUMNS, _rows(result))
        for split in result.splits:
            for problem in split.problems:
                console.error(f"{result.name}, {split.split}: {problem}")
            if split.num_problems > len(split.problems):
                more = split.num_problems - len(split.problems)
                console.error(f"{result.name}, {split.split}: and {more} more problems")
        for note in result.notes:
            console.info(f"{result.name}, {note}")
        splits = [asdict(split) for split in result.splits]
        documents.append(
            {"data": result.name, "args": result.args, "missing": [], "splits": splits,
             "notes": result.notes}
        )  # fmt: skip
    picture = DataCheck("", {}, {}, [], [], rows).draw(out)
    if picture:
        console.info(f"wrote {picture}")
    console.result({"data_sets": documents, "num_problems": num_problems, "picture": picture})
    console.info("nothing wrong was found" if not num_problems else f"problems: {num_problems}")
    return DataError.exit_code if num_problems else 0


def _rows(result: DataCheck) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for split in result.splits:
        for name, task in split.tasks.items():
            valid = f"{task.num_valid / task.num_values:.1%}" if task.num_values else None
            classes = f"{len(task.classes)} of {result.tasks[name].num_channels}"
            of = split.num_read if split.num_read == split.num_samples else None
            read = of if of is not None else f"{split.num_read} read of {split.num_samples}"
            has = classes if task.classes else None
            rows.append(
                [split.split, name, task.num_labelled, read, valid, task.lowest, task.highest, has]
            )
    return rows
