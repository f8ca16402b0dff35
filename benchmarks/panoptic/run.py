"""Train, compress, export and measure a small Panoptic FPN, paired seeds; print what is finished.

What the record holds is not run again, so the study may be stopped and go on.
"""

import argparse
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from scored import scored

import compactmtl as cm
from compactmtl.bench.candidates import COMPACT
from compactmtl.compact_network import CompactNetwork
from compactmtl.compiler.network_folder import write_network
from compactmtl.compiler.source import load_source
from compactmtl.environment import environment
from compactmtl.export import export
from compactmtl.export.panoptic import write_panoptic
from compactmtl.files import read_json, write_json
from compactmtl.models.recipes import load
from compactmtl.recipe import Recipe, to_toml
from compactmtl.study.paired import cell as summary
from compactmtl.study.paired import difference
from compactmtl.training import fit

HERE = Path(__file__).parent
EVERYTHING = '["dense.*", "detector.*"]'
SYSTEMS: dict[str, tuple[str, ...]] = {
    "dense": (),
    "fac": (f"overparam.layers={EVERYTHING}", "overparam.m_lr=1e-2"),
    "sparse": (
        *(f"sparsity.layers={EVERYTHING}", "sparsity.target=0.5"),
        *("sparsity.lam=1e-3", "sparsity.stop=0.6"),
    ),
}
DATA = ("nuclei", "rooms")
SECONDS = 20.0
"""Of timing in turns, per network."""
FIGURES = (
    ("mask AP", ("instances", "mask_ap")),
    ("box AP", ("instances", "box_ap")),
    ("PQ", ("panoptic", "pq")),
)

Row = dict[str, Any]


def main() -> None:
    """Run what is missing while there is time, then print the tables."""
    options = parse()
    torch.set_num_threads(1)
    end = time.monotonic() + 60 * options.minutes
    rows = read(options.record)
    for seed in range(options.seeds):
        for data in options.data:
            for system in SYSTEMS:
                name = f"{data}/{system}/{seed}"
                recipe = load(str(HERE / f"{data}.toml"), SYSTEMS[system])
                if name in rows and rows[name]["plan"] == fingerprint(recipe):
                    continue
                if time.monotonic() < end:
                    rows[name] = measured(recipe, options.runs / data / system, seed)
                    write(options.record, rows)
    for data in options.data:
        print(f"\n{data}, test split, last epoch")
        print(*lines(rows, data, options.seeds), sep="\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after")
    parser.add_argument("--runs", type=Path, default=Path("runs-panoptic"))
    parser.add_argument("--record", type=Path, default=HERE / "record.json")
    return parser.parse_args()


def read(path: Path) -> dict[str, Row]:
    """Return the finished runs by name."""
    return dict(read_json(path)["runs"]) if path.is_file() else {}


def write(path: Path, rows: dict[str, Row]) -> None:
    """Write the record."""
    write_json(
        path,
        {
            "format_version": 1,
            "question": "Panoptic FPN: dense, Fac and group-sparse, before and after compression",
            "environment": environment(),
            "runs": dict(sorted(rows.items())),
        },
    )


def fingerprint(recipe: Recipe) -> str:
    """Return what tells one plan of a run from another."""
    return hashlib.sha256(to_toml(recipe).encode()).hexdigest()[:16]


def measured(recipe: Recipe, folder: Path, seed: int) -> Row:
    """Train, score, compress, export and time one run; one that was stopped goes on."""
    plan, recipe = fingerprint(recipe), recipe.model_copy(update={"seed": seed})
    run, place = folder / f"seed-{seed}" / "run", folder / f"seed-{seed}" / "compact"
    result = fit(recipe, run_dir=run, resume=(run / "ckpt.pt").is_file())
    test = scored(result.model, recipe)
    source = load_source(run, recipe=recipe)
    compact = cm.compress(source.model, source.example_inputs, images=source.images)
    assert isinstance(compact, CompactNetwork)
    write_network(compact, place, images=source.images, origin=source.origin)
    for part in compact.parts:
        export(place / part, place / part / "dense.onnx", which="dense")
        export(place / part, place / part / "model.onnx")
    write_panoptic(place, "dense")
    write_panoptic(place, "compact")
    found = cm.bench(place, seconds=SECONDS)
    report = compact.report
    assert report is not None
    return {
        "plan": plan,
        "test": test,
        "macs": {"before": report.before.macs, "after": report.after.macs},
        "parameters": {"before": report.before.num_params, "after": report.after.num_params},
        "calls": report.calls,
        "whole": report.whole,
        "cpu_ms": {name: each.cpu_ms.p50 for name, each in found.candidates.items()},
        "parts_ms": {name: each.parts_ms for name, each in found.candidates.items()},
        "ratios": {name: ratio.model_dump() for name, ratio in found.ratios.items()},
        "verdict": found.verdict,
    }


def lines(rows: dict[str, Row], data: str, seeds: int) -> list[str]:
    """Return the table as Markdown."""
    heads = ["system", "n", *(name for name, _ in FIGURES), "GMACs", "CPU ms"]
    table = [heads, ["---"] * len(heads)]
    base = by_seed(rows, data, "dense", seeds)
    for system in SYSTEMS:
        own = by_seed(rows, data, system, seeds)
        line = [system, str(len(own))]
        for _, (task, metric) in FIGURES:
            mine = {seed: row["test"][task][metric] for seed, row in own.items()}
            theirs = {seed: row["test"][task][metric] for seed, row in base.items()}
            line.append(entry(mine, theirs, is_base=system == "dense"))
        for key, unit in (("macs", 1e-9), ("cpu_ms", 1.0)):
            line.append(before_after([row[key] for row in own.values()], unit))
        table.append(line)
    return ["| " + " | ".join(line) + " |" for line in table]


def by_seed(rows: dict[str, Row], data: str, system: str, seeds: int) -> dict[int, Row]:
    """Return the finished runs of a system."""
    names = {seed: f"{data}/{system}/{seed}" for seed in range(seeds)}
    return {seed: rows[name] for seed, name in names.items() if name in rows}


def entry(own: dict[int, float], base: dict[int, float], *, is_base: bool) -> str:
    """Return mean and deviation, and the paired difference from the dense network."""
    if not own:
        return "not run"
    found = summary(list(own.values()))
    text = f"{found.mean:.3f}" + ("" if found.std is None else f" +- {found.std:.2g}")
    paired = difference(own, base, higher_is_better=True)
    if is_base or paired is None:
        return text
    return f"{text} ({paired.mean:+.2g}: {paired.verdict})"


def before_after(values: list[dict[str, float]], unit: float) -> str:
    """Return the means of what was before and after compression."""
    if not values:
        return "not run"
    names = (
        ("before", "after") if "before" in values[0] else ("dense.panoptic", f"{COMPACT}.panoptic")
    )
    means = (sum(each[name] for each in values) / len(values) * unit for name in names)
    return " -> ".join(f"{mean:.3g}" for mean in means)


if __name__ == "__main__":
    main()
