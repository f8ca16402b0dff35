"""An evaluation as tables: one column per subject, differences to the baseline beside."""

from collections.abc import Mapping, Sequence

from compactmtl.evaluation.score import Scores, Values

Rows = list[list[str]]


def columns(names: Sequence[str], baseline: str) -> list[str]:
    """Return the headings: the baseline first, then each other subject and its difference."""
    others = [name for name in names if name != baseline]
    return ["task", "", baseline, *(part for name in others for part in (name, "difference"))]


def metric_rows(scores: Scores, names: Sequence[str], baseline: str) -> Rows:
    """Return one row per task and metric, and one for how far the raw outputs of others moved."""
    rows = _rows(scores.metrics, names, baseline)
    others = [name for name in names if name != baseline]
    for task in scores.metrics[baseline] if others else ():
        row = [task, "raw outputs, relative RMS", ""]
        for name in others:
            value = scores.rel_rms[name].get(task)
            row += ["", "-" if value is None else f"{value:.1e}"]
        rows.append(row)
    order = {task: place for place, task in enumerate(scores.metrics[baseline])}
    return sorted(rows, key=lambda row: order.get(row[0], len(order)))


def class_rows(scores: Scores, names: Sequence[str], baseline: str) -> Rows:
    """Return one row per task and class, for tasks that have classes."""
    return _rows(scores.classes, names, baseline)


def _rows(values: Values, names: Sequence[str], baseline: str) -> Rows:
    others = [name for name in names if name != baseline]
    keys: dict[tuple[str, str], None] = {}
    for name in (baseline, *others):
        keys |= {(task, key): None for task, found in values[name].items() for key in found}
    return [
        [
            task,
            key,
            _cell(values[baseline], task, key),
            *(
                part
                for name in others
                for part in (
                    _cell(values[name], task, key),
                    _difference(values[name], values[baseline], task, key),
                )
            ),
        ]
        for task, key in keys
    ]


def _cell(values: Mapping[str, Mapping[str, float]], task: str, key: str) -> str:
    value = values.get(task, {}).get(key)
    return "-" if value is None else f"{value:.4g}"


def _difference(
    values: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, Mapping[str, float]],
    task: str,
    key: str,
) -> str:
    one, other = values.get(task, {}).get(key), baseline.get(task, {}).get(key)
    return "-" if one is None or other is None else f"{one - other:+.2g}"
