"""How much do the readers of a residual stream overlap on trained masks, and what do gathers gain?

Reads the runs that run.py left. A stream is a tensor that several layers add to and several read; a
reader keeps the channels whose groups are not zero. Overlap of a stream is
the mean over pairs of readers of |A and B| / |A or B|; expected is the same where as many channels
were drawn at random. Then each network is compiled with and without gathers, and timed in ONNX
Runtime on one thread, in turns.
"""

import argparse
import itertools
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from one import compiled, folder_of
from paired import Row, markdown, read_rows, write_rows
from plan import Cell, subjects
from torch import Tensor

from compactmtl.bench import bench
from compactmtl.channel_runs import from_runs
from compactmtl.export import export

QUESTION = "overlap of the readers of residual streams on trained masks, and what gathers gain"
STUDIES = ("rooms", "cifar")
SYSTEMS = ("sparse-50", "sparse-70", "sparse-85")
PLANS: dict[str, dict[str, Any]] = {
    "gathers": {},
    "no-gathers": {"gather": False},
    "macs": {"objective": "macs"},
    "macs-no-gathers": {"objective": "macs", "gather": False},
}


def main() -> None:
    """Measure the networks that are there and not in the record; print the tables."""
    options = parse()
    torch.set_num_threads(1)
    rows = {(row["study"], row["system"], row["seed"]): row for row in read_rows(options.record)}
    for seed, study, system in itertools.product(range(options.seeds), STUDIES, SYSTEMS):
        cell = Cell(study, system, seed)
        is_done = (folder_of(cell, options.runs) / "compact" / "model.onnx").is_file()
        if (study, system, seed) in rows or not is_done:
            continue
        rows[study, system, seed] = measure(cell, options)
        write_rows(options.record, QUESTION, [rows[key] for key in sorted(rows)])
    print(*table([rows[key] for key in sorted(rows)]), sep="\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring, a network")
    parser.add_argument("--runs", type=Path, default=Path("runs-sparsity"))
    parser.add_argument("--record", type=Path, default=Path(__file__).with_name("streams.json"))
    return parser.parse_args()


def measure(cell: Cell, options: argparse.Namespace) -> Row:
    """Return the overlap in a trained network, and what each plan of it costs."""
    folder, recipe = folder_of(cell, options.runs), subjects(cell.study)[cell.system].recipe
    plans: dict[str, dict[str, Any]] = {}
    files, found = [], []
    for name, asked in PLANS.items():
        compact = compiled(folder / "run", recipe, **asked)
        files.append(folder / f"{name}.onnx")
        export(compact, files[-1])
        plans[name] = {"macs": compact.report.after.macs, "gathers": compact.report.gathers}
        found = found or streams(compact.why)
    height, width = compact.manifest.inputs[0].shape[2:]
    record = bench(files, threads=1, size=(height, width), seconds=options.seconds, rounds=60)
    base, *others = list(record.candidates)
    for name, key in zip(PLANS, (base, *others), strict=True):
        ratio = record.ratios.get(f"{base}/{key}")
        plans[name] |= {
            "cpu_ms": record.candidates[key].cpu_ms.p50,
            "over_first": 1.0 if ratio is None else 1 / ratio.cpu,
            "interval_95": None if ratio is None else [1 / x for x in ratio.cpu_interval[::-1]],
        }
    return {
        "study": cell.study,
        "system": cell.system,
        "seed": cell.seed,
        "macs_dense": compact.report.before.macs,
        "streams": found,
        "plans": plans,
        "verdict": record.verdict,
        "why": record.why,
    }


def streams(why: dict[str, Any]) -> list[dict[str, Any]]:
    """Return per residual stream of a compiled network how its readers overlap."""
    found = []
    for stream in why["streams"]:
        kept = {}
        for row in stream["rows"]:
            if row["does"] == "read":
                mask = torch.zeros(stream["num_channels"], dtype=torch.bool)
                mask[list(from_runs(row["channels"]))] = True
                kept[row["layer"]] = mask
        found.append(about(stream["name"], kept))
    return found


def about(stream: str, kept: dict[str, Tensor]) -> dict[str, Any]:
    """Return the figures of one stream by the channels that each reader keeps."""
    masks = list(kept.values())
    num = len(masks[0])
    together = torch.stack(masks)
    used = together.any(0)
    return {
        "stream": stream,
        "channels": num,
        "readers": {name: int(mask.sum()) for name, mask in kept.items()},
        "used": int(used.sum()),
        "used_by_all": int(together.all(0).sum()),
        "used_by_one": int((together.sum(0) == 1).sum()),
        "mean_read": float(together.sum(1).float().mean()),
        "overlap": statistics.fmean(_jaccard(masks)),
        "expected": statistics.fmean(_by_chance(masks)),
    }


def _jaccard(masks: Sequence[Tensor]) -> list[float]:
    return [
        float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0
        for a, b in itertools.combinations(masks, 2)
    ]


def _by_chance(masks: Sequence[Tensor]) -> list[float]:
    """Return the overlap of as many channels drawn at random: expected sizes of both sets."""
    found = []
    for a, b in itertools.combinations(masks, 2):
        p, q = float(a.float().mean()), float(b.float().mean())
        found.append(p * q / (p + q - p * q) if p + q else 1.0)
    return found


def table(rows: Sequence[Row]) -> list[str]:
    """Return one line per network."""
    lines = [
        ["network", "seed", "streams", "overlap", "by chance", "read by a reader, of all",
         "used by any", "MACs without gathers", "CPU without gathers", "gathers", "verdict"]
    ]  # fmt: skip
    for row in rows:
        found, plans = row["streams"], row["plans"]
        channels = sum(each["channels"] for each in found)
        without, own = plans["no-gathers"], plans["gathers"]
        low, high = without["interval_95"] or (1.0, 1.0)
        lines.append(
            [
                f"{row['study']} {row['system']}",
                str(row["seed"]),
                str(len(found)),
                f"{statistics.fmean(each['overlap'] for each in found):.2f}",
                f"{statistics.fmean(each['expected'] for each in found):.2f}",
                f"{sum(each['mean_read'] for each in found) / channels:.2f}",
                f"{sum(each['used'] for each in found) / channels:.2f}",
                f"{without['macs'] / own['macs']:.2f}x",
                f"{without['over_first']:.2f}x ({low:.2f} to {high:.2f})",
                str(own["gathers"]),
                row["verdict"],
            ]
        )
    return markdown(lines)


if __name__ == "__main__":
    main()
