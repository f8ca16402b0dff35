"""Train every system with paired seeds; print metrics, zeros, MACs and CPU time against dense.

Figures are those of the last epoch on the test split, which chooses nothing. A cell is trained,
compiled and exported in this process, then timed in ONNX Runtime on one thread, in turns with the
dense network of its seed. What the record holds is not done again; a run that was stopped goes on.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from one import folder_of, run_one
from plan import BASELINE, STUDIES, Cell, subjects
from results import Results
from table import lines

from compactmtl.bench import bench
from compactmtl.errors import CompilerError, NonFiniteError, TrainingError


def main() -> None:
    """Run what is missing while there is time, then print the tables."""
    options = parse()
    torch.set_num_threads(1)
    results = Results(options.record)
    end = time.monotonic() + 60 * options.minutes
    for cell in missing(results, options):
        if time.monotonic() > end:
            break
        started = time.monotonic()
        try:
            found = run_one(cell, options.runs)
            found |= against_dense(cell, results, found, options)
        except (CompilerError, NonFiniteError, TrainingError) as error:  # a result, too
            found = {"failed": f"{type(error).__name__}: {error.message}"}
        results.add(cell, found)
        said = found.get("failed") or f"{100 * found['macs'] / found['macs_dense']:.0f} % of MACs"
        taken = time.monotonic() - started
        print(
            f"{cell.study} {cell.system} seed {cell.seed}: {taken:.0f} s, {said}", file=sys.stderr
        )
    for study in options.data:
        print(f"\n{study}, test split, last epoch")
        print(*lines(results, study, range(options.seeds)), sep="\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(STUDIES), choices=STUDIES)
    parser.add_argument("--systems", nargs="+", default=list(subjects(STUDIES[0])))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after")
    parser.add_argument("--seconds", type=float, default=3.0, help="of measuring CPU time, a cell")
    parser.add_argument("--runs", type=Path, default=Path("runs-sparsity"))
    parser.add_argument("--record", type=Path, default=Path(__file__).with_name("record.json"))
    return parser.parse_args()


def missing(results: Results, options: argparse.Namespace) -> Iterator[Cell]:
    """Yield what is not done yet, seed by seed, each cell after those that it needs.

    What a cell needs, and the dense network that it is timed against, is done again where the
    record holds it but its run does not lie here.
    """
    for seed in range(options.seeds):
        for study in options.data:
            for name, subject in subjects(study).items():
                needed = [Cell(study, label, seed) for label in subject.needs]
                cell = Cell(study, name, seed)
                if name not in options.systems or cell in results:
                    continue
                if any(each not in results or "failed" in results[each] for each in needed):
                    continue
                for each in dict.fromkeys([Cell(study, BASELINE, seed), *needed]):
                    if each in results and not (folder_of(each, options.runs) / "run").is_dir():
                        yield each
                yield cell


def against_dense(
    cell: Cell, results: Results, found: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Return the dense network's MACs, and the CPU time over that of the dense network."""
    if cell.system == BASELINE:
        return {"macs_dense": found["macs"], "cpu": None}
    base = Cell(cell.study, BASELINE, cell.seed)
    dense = {"macs_dense": results[base]["macs"]} if base in results else {}
    files = [folder_of(each, options.runs) / "compact" / "model.onnx" for each in (base, cell)]
    if not files[0].is_file():
        return {**dense, "cpu": None}
    height, width = found["size"]
    record = bench(files, threads=1, size=(height, width), seconds=options.seconds, rounds=30)
    names = list(record.candidates)
    ratio = record.ratios[f"{names[0]}/{names[1]}"]
    return {
        **dense,
        "cpu": {
            "dense_ms": record.candidates[names[0]].cpu_ms.p50,
            "own_ms": record.candidates[names[1]].cpu_ms.p50,
            "speedup": ratio.cpu,
            "interval_95": ratio.cpu_interval,
            "verdict": record.verdict,
            "why": record.why,
        },
    }


if __name__ == "__main__":
    main()
