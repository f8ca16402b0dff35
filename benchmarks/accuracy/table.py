"""The table of a study, from what is finished."""

from collections.abc import Sequence

from plan import BASELINE, STUDIES, Cell
from results import Results

from compactmtl.multitask.delta import HIGHER_IS_BETTER, relative_gain
from compactmtl.study.paired import cell as summary
from compactmtl.study.paired import difference

FIRST = {
    "seg": "miou", "depth": "abs_err", "normals": "mean_angle", "mask": "iou", "distance": "mae",
    "direction": "mae", "fine": "accuracy", "coarse": "accuracy",
}  # fmt: skip


def lines(results: Results, study: str, seeds: Sequence[int]) -> list[str]:
    """Return the table as Markdown: mean and deviation, and the paired difference from dense."""
    values = {name: _by_seed(results, study, name, seeds) for name in STUDIES[study].systems}
    base = values[BASELINE]
    tasks = next((list(metrics) for metrics in base.values()), [])
    heads = ["system", "rate", "n", *(f"{task} {FIRST[task]}" for task in tasks), "delta-m %"]
    rows = [heads, ["---"] * len(heads)]
    for name, found in values.items():
        rate = results.learning_rate(study, name)
        row = [name, "-" if rate is None else f"{rate:g}", str(len(found))]
        for task in tasks:
            own = {seed: metrics[task][FIRST[task]] for seed, metrics in found.items()}
            theirs = {seed: metrics[task][FIRST[task]] for seed, metrics in base.items()}
            row.append(_entry(own, theirs, FIRST[task], is_base=name == BASELINE))
        both = sorted(found.keys() & base.keys())
        gains = [100 * relative_gain(found[seed], base[seed]) for seed in both]
        row.append(_mean(gains) if gains and name != BASELINE else "")
        rows.append(row)
    return ["| " + " | ".join(row) + " |" for row in rows]


def _by_seed(
    results: Results, study: str, system: str, seeds: Sequence[int]
) -> dict[int, dict[str, dict[str, float]]]:
    rate = results.learning_rate(study, system)
    if rate is None:
        return {}
    cells = {seed: Cell(study, system, rate, seed) for seed in seeds}
    return {seed: results[cell]["test"] for seed, cell in cells.items() if cell in results}


def _entry(own: dict[int, float], base: dict[int, float], metric: str, *, is_base: bool) -> str:
    if not own:
        return "not run"
    text = _mean(list(own.values()))
    if is_base:
        return text
    found = difference(own, base, higher_is_better=HIGHER_IS_BETTER[metric])
    if found is None or found.se is None:
        return text
    return f"{text} ({found.mean:+.2g}, se {found.se:.1g}: {found.verdict})"


def _mean(values: list[float]) -> str:
    found = summary(values)
    return f"{found.mean:.4g}" + (f" +- {found.std:.2g}" if found.std is not None else "")
