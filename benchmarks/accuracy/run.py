"""Train every system of the paper with paired seeds; print means, deviations and differences.

Each system is first trained with seed 0 at three learning rates; the best on the validation split
is taken, and the other seeds follow. Figures are those of the last epoch on the test split, which
chooses nothing. What the record holds is not trained again, so a study may be stopped and go on.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from plan import LEARNING_RATES, STUDIES, TUNING_SEED, Cell
from results import Results
from table import lines

from compactmtl.files import read_json
from compactmtl.models.recipes import load
from compactmtl.recipe import to_toml
from compactmtl.study.cells import RunCell
from compactmtl.study.running import run_cells
from compactmtl.study.subjects import Subject
from compactmtl.training.logs import read_log


def main() -> None:
    """Run what is missing while there is time, then print the tables."""
    options = parse()
    results = Results(options.record)
    end = time.monotonic() + 60 * options.minutes
    for study in options.data:
        while cells := list(missing(results, study, options.seeds))[: options.jobs]:
            if time.monotonic() > end:
                break
            train(cells, results, options)
    for study in options.data:
        print(f"\n{study}, test split, last epoch")
        print(*lines(results, study, range(options.seeds)), sep="\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(STUDIES), choices=STUDIES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after")
    parser.add_argument("--runs", type=Path, default=Path("runs-accuracy"))
    parser.add_argument("--record", type=Path, default=Path(__file__).with_name("record.json"))
    return parser.parse_args()


def missing(results: Results, study: str, seeds: int) -> Iterator[Cell]:
    """Yield what is not done yet and can be: rates first, then seed by seed."""
    systems = STUDIES[study].systems
    for system in systems:
        for lr in LEARNING_RATES:
            if (cell := Cell(study, system, lr, TUNING_SEED)) not in results:
                yield cell
    for seed in range(seeds):
        for system in systems:
            chosen = results.learning_rate(study, system)
            if chosen is not None and (cell := Cell(study, system, chosen, seed)) not in results:
                yield cell


def train(cells: list[Cell], results: Results, options: argparse.Namespace) -> None:
    """Train and score some cells side by side."""
    runs = {}
    for cell in cells:
        recipe = load(str(STUDIES[cell.study].recipe), cell.settings)
        subject = Subject(cell.label, recipe)
        folder = options.runs / cell.study / cell.label / f"seed-{cell.seed}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
        runs[cell] = RunCell(subject, cell.seed, folder)
    started = time.monotonic()
    run_cells(list(runs.values()), jobs=options.jobs, devices=["cpu"], on_done=lambda _: None)
    for cell, run in runs.items():
        test = next(iter(read_json(run.scores)["metrics"].values()))
        results.add(cell, read_log(run.run)[-1]["val"], test)
        taken = time.monotonic() - started
        print(f"{cell.study} {cell.label} seed {cell.seed}: {taken:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
