"""The table of a study, from what is finished."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from paired import FIRST, Row, compared, markdown, spread
from plan import BASELINE, Cell, subjects
from results import Results

from compactmtl.errors import UsageError
from compactmtl.multitask.delta import relative_gain

Get = Callable[[Row], float | None]


def lines(results: Results, study: str, seeds: Sequence[int]) -> list[str]:
    """Return the table as Markdown: means and deviations, paired differences from dense."""
    systems = subjects(study)
    found = {
        name: {s: results[c] for s in seeds if (c := Cell(study, name, s)) in results}
        for name in systems
    }
    base = {seed: row for seed, row in found[BASELINE].items() if "failed" not in row}
    tasks = list(systems[BASELINE].recipe.tasks)
    rows = [
        ["system", "n", *(f"{task} {FIRST[task]}" for task in tasks), "delta-m %",
         "zero groups %", "zero filters %", "removable %", "zero weights %", "MACs %", "CPU x"]
    ]  # fmt: skip
    for name, of_seed in found.items():
        whole = {seed: row for seed, row in of_seed.items() if "failed" not in row}
        line = [name, str(len(whole))]
        for task in tasks:
            own = {seed: row["test"][task][FIRST[task]] for seed, row in whole.items()}
            theirs = {seed: row["test"][task][FIRST[task]] for seed, row in base.items()}
            line.append(compared(own, None if name == BASELINE else theirs, FIRST[task]))
        both = [] if name == BASELINE else sorted(whole.keys() & base.keys())
        line.append(gain([(whole[s]["test"], base[s]["test"]) for s in both]))
        line += [_mean(whole.values(), get) for get in COLUMNS]
        rows.append(line)
        for seed, row in of_seed.items():
            if "failed" in row:
                rows.append([f"{name}, seed {seed}", row["failed"]] + [""] * (len(line) - 2))
    return markdown(rows)


def gain(pairs: list[tuple[Any, Any]]) -> str:
    """Return mean and spread of delta-m; nothing can be relative to a baseline that scores 0."""
    if not pairs:
        return ""
    try:
        return spread([100 * relative_gain(own, base) for own, base in pairs])
    except UsageError:
        return "baseline 0"


def _share(part: str, whole: str, where: str) -> Get:
    def get(row: Row) -> float | None:
        counts: dict[str, Any] | None = row[where]
        return None if not counts else 100 * counts[part] / counts[whole]

    return get


COLUMNS: tuple[Get, ...] = (
    _share("zero_groups", "num_groups", "census"),
    _share("zero_filters", "num_filters", "census"),
    _share("removable_channels", "num_channels", "census"),
    _share("zero_weights", "num_weights", "penalised"),
    lambda row: 100 * row["macs"] / row["macs_dense"] if "macs_dense" in row else None,
    lambda row: row["cpu"]["speedup"] if row.get("cpu") else None,
)


def _mean(rows: Any, get: Get) -> str:
    values = [value for row in rows if (value := get(row)) is not None]
    return f"{statistics.fmean(values):.3g}" if values else "-"
