"""Train dense, Fac and group-sparse with paired seeds; print means, deviations and differences.

All three train the same network from the same first weights on the same batches with the same
optimiser (AdamW), learning rate, weight decay and number of epochs. Only Fac's encoder layers
differ in decay, as the method prescribes: Frobenius decay 1e-4 on the contracted kernel (coupled)
takes the place of AdamW's decoupled 1e-2 there. Nothing is selected: the figures are those of the
last epoch on the test split, which training never sees.
"""

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from compactmtl.environment import environment
from compactmtl.files import write_json

METHODS = ("dense", "fac", "sparse")
DATA = ("rooms", "nuclei")
METRICS = {
    "rooms": {"seg": "miou", "depth": "abs_err", "normals": "mean_angle"},
    "nuclei": {"mask": "iou", "distance": "mae", "direction": "mae"},
}


def main() -> None:
    """Run what is missing, then print the table and write the record."""
    options = parse()
    if options.one:
        measure(options.one, options.seed, options.runs)
        return
    jobs = [(f"{d}-{m}", s) for s in range(options.seeds) for d in options.data for m in METHODS]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: run_apart(*job, options.runs), jobs))
    cells = {d: table(d, options.seeds, options.runs) for d in options.data}
    write_json(
        options.output,
        {
            "format_version": 1,
            "question": "accuracy of dense, Fac and group-sparse at paired seeds",
            "environment": environment(),
            "settings": {"seeds": options.seeds, "selection": "last epoch", "split": "test"},
            "results": cells,
        },
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs-quality"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("record.json"))
    parser.add_argument("--one", metavar="RECIPE", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_apart(recipe: str, seed: int, runs: Path) -> None:
    """Run one cell in a process of its own, unless its result is there."""
    if result_path(recipe, seed, runs).is_file():
        return
    command = [sys.executable, __file__, "--one", recipe, "--seed", str(seed), "--runs", str(runs)]
    subprocess.run(command, check=True)


def result_path(recipe: str, seed: int, runs: Path) -> Path:
    """Return where the result of one run is kept."""
    return runs / f"{recipe}-{seed}.json"


def measure(recipe_name: str, seed: int, runs: Path) -> None:
    """Train one recipe with one seed, compile it, and write its test metrics."""
    import torch

    from compactmtl.compiler import compress
    from compactmtl.data import DATASETS
    from compactmtl.data.batch import collate
    from compactmtl.models.recipes import load
    from compactmtl.multitask import task_from_spec
    from compactmtl.multitask.baseline import constant_baseline
    from compactmtl.multitask.evaluate import evaluate
    from compactmtl.training import fit

    torch.set_num_threads(1)
    recipe = load(recipe_name, [f"seed={seed}"])
    folder = runs / f"{recipe_name}-{seed}"
    result = fit(recipe, run_dir=folder, resume=(folder / "ckpt.pt").is_file())
    specs = torch.load(result.checkpoint_path, weights_only=True)["tasks"]
    tasks = {name: task_from_spec(name, spec) for name, spec in specs.items()}
    test = DATASETS[recipe.data.name]("test", **recipe.data.args)
    batches = [
        collate([test[j] for j in range(i, min(i + 16, len(test)))], tasks)
        for i in range(0, len(test), 16)
    ]
    compact = compress(result.model, batches[0][0][:2], images=[batches[0][0][2:4]])
    metrics = evaluate(compact.module, batches, tasks)
    write_json(
        result_path(recipe_name, seed, runs),
        {
            "test": metrics,
            "constant": constant_baseline(tasks, batches),
            "macs_before": compact.report.before.macs,
            "macs_after": compact.report.after.macs,
            "census": compact.report.census,
            "recipe": recipe.to_dict(),
        },
    )
    print(f"{recipe_name} seed {seed}: done", file=sys.stderr)


def table(data: str, seeds: int, runs: Path) -> dict[str, Any]:
    """Print one data set's table and return its cells."""
    results = {
        method: [
            json.loads(result_path(f"{data}-{method}", seed, runs).read_text())
            for seed in range(seeds)
        ]
        for method in METHODS
    }
    print(f"\n{data}, test split, n = {seeds} paired seeds")
    cells: dict[str, Any] = {}
    for task, metric in METRICS[data].items():
        constant = statistics.mean(r["constant"][task][metric] for r in results["dense"])
        print(f"  {task} {metric}: constant predictor {constant:.4g}")
        dense = [r["test"][task][metric] for r in results["dense"]]
        for method in METHODS:
            values = [r["test"][task][metric] for r in results[method]]
            cell = {"values": values, "mean": statistics.mean(values), "std": deviation(values)}
            line = f"    {method:7} {cell['mean']:.4g} +- {cell['std']:.2g}"
            if method != "dense":
                differences = [value - base for value, base in zip(values, dense, strict=True)]
                cell["paired_difference"] = statistics.mean(differences)
                cell["paired_se"] = deviation(differences) / seeds**0.5
                line += (
                    f"   minus dense {cell['paired_difference']:+.2g} (se {cell['paired_se']:.2g})"
                )
            print(line)
            cells.setdefault(task, {})[method] = cell
        cells[task]["constant"] = constant
    for method in METHODS:
        shares = [r["census"]["zero_groups"] / r["census"]["num_groups"] for r in results[method]]
        macs = [r["macs_before"] / r["macs_after"] for r in results[method]]
        cells.setdefault("size", {})[method] = {"zero_groups": shares, "macs_ratio": macs}
        print(
            f"  {method:7} zero groups of all layers {statistics.mean(shares):.1%}, "
            f"MACs dense/compact {statistics.mean(macs):.2f}"
        )
    return cells


def deviation(values: list[float]) -> float:
    """Return the sample standard deviation; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
