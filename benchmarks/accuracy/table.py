"""The table of a study, from what is finished."""

from collections.abc import Sequence

from paired import FIRST, compared, markdown, spread
from plan import BASELINE, STUDIES, Cell
from results import Results

from compactmtl.multitask.delta import relative_gain


def lines(results: Results, study: str, seeds: Sequence[int]) -> list[str]:
    """Return the table as Markdown: mean and deviation, and the paired difference from dense."""
    values = {name: _by_seed(results, study, name, seeds) for name in STUDIES[study].systems}
    base = values[BASELINE]
    tasks = next((list(metrics) for metrics in base.values()), [])
    rows = [["system", "rate", "n", *(f"{task} {FIRST[task]}" for task in tasks), "delta-m %"]]
    for name, found in values.items():
        rate = results.learning_rate(study, name)
        row = [name, "-" if rate is None else f"{rate:g}", str(len(found))]
        for task in tasks:
            own = {seed: metrics[task][FIRST[task]] for seed, metrics in found.items()}
            theirs = {seed: metrics[task][FIRST[task]] for seed, metrics in base.items()}
            row.append(compared(own, None if name == BASELINE else theirs, FIRST[task]))
        both = sorted(found.keys() & base.keys())
        gains = [100 * relative_gain(found[seed], base[seed]) for seed in both]
        row.append(spread(gains) if gains and name != BASELINE else "")
        rows.append(row)
    return markdown(rows)


def _by_seed(
    results: Results, study: str, system: str, seeds: Sequence[int]
) -> dict[int, dict[str, dict[str, float]]]:
    rate = results.learning_rate(study, system)
    if rate is None:
        return {}
    cells = {seed: Cell(study, system, rate, seed) for seed in seeds}
    return {seed: results[cell]["test"] for seed, cell in cells.items() if cell in results}
