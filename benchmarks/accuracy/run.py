"""Train every system of the paper with paired seeds; print means, deviations and differences.

Each system is first trained with seed 0 at three learning rates; the best on the validation split
is taken, and the other seeds follow. Figures are those of the last epoch on the test split, which
chooses nothing. What the record holds is not trained again, so a study may be stopped and go on.
"""

import argparse
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from plan import LEARNING_RATES, STUDIES, TUNING_SEED, Cell
from results import Results
from scored import scored
from table import lines

from compactmtl.models.recipes import load
from compactmtl.training import fit
from compactmtl.training.logs import read_log


def main() -> None:
    """Run what is missing while there is time, then print the tables."""
    options = parse()
    results = Results(options.record)
    end = time.monotonic() + 60 * options.minutes
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, spawn, end_with_parent) as workers:
        begun: dict[Future[Any], Cell] = {}
        while True:
            free = options.jobs - len(begun) if time.monotonic() < end else 0
            waiting = (
                cell
                for study in options.data
                for cell in missing(results, study, options.seeds)
                if cell not in begun.values()
            )
            for cell in list(islice(waiting, free)):
                begun[workers.submit(train, cell, options.runs)] = cell
            if not begun:
                break
            done, _ = wait(begun, return_when=FIRST_COMPLETED)
            for one in done:
                cell = begun.pop(one)
                val, test, taken = one.result()
                results.add(cell, val, test)
                print(f"{cell.study} {cell.label} seed {cell.seed}: {taken:.0f} s", file=sys.stderr)
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
    """Yield what is not done yet and can be, system by system: its rates first, then its seeds."""
    for system in STUDIES[study].systems:
        for lr in LEARNING_RATES:
            if (cell := Cell(study, system, lr, TUNING_SEED)) not in results:
                yield cell
        chosen = results.learning_rate(study, system)
        for seed in range(seeds):
            if chosen is not None and (cell := Cell(study, system, chosen, seed)) not in results:
                yield cell


def end_with_parent() -> None:
    """End when the study is killed: what it left behind would train beside the next one."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train(cell: Cell, runs: Path) -> tuple[Any, Any, float]:
    """Train and score a cell; return its metrics on the validation and test split, and seconds."""
    torch.set_num_threads(1)
    started = time.monotonic()
    recipe = load(str(STUDIES[cell.study].recipe), cell.settings)
    recipe = recipe.model_copy(update={"seed": cell.seed})
    run = runs / cell.study / cell.label / f"seed-{cell.seed}" / "run"
    result = fit(recipe, run_dir=run, resume=(run / "ckpt.pt").is_file())
    return read_log(run)[-1]["val"], scored(result.model, recipe), time.monotonic() - started


if __name__ == "__main__":
    main()
