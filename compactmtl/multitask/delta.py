"""Delta-m: how much better a multi-task network is than a baseline, over all its metrics."""

import statistics
from collections.abc import Mapping

from compactmtl.errors import UsageError

HIGHER_IS_BETTER = dict.fromkeys(("abs_err", "rel_err", "mean_angle", "median_angle"), False)
HIGHER_IS_BETTER |= dict.fromkeys(("mae", "rmse", "scaled_mae"), False)
HIGHER_IS_BETTER |= dict.fromkeys(("miou", "pixel_accuracy", "iou", "f1", "accuracy"), True)
HIGHER_IS_BETTER |= dict.fromkeys(("image_iou", "cosine"), True)
HIGHER_IS_BETTER |= dict.fromkeys(("mask_ap", "mask_ap50", "mask_ap75"), True)
HIGHER_IS_BETTER |= dict.fromkeys(("box_ap", "box_ap50", "box_ap75"), True)
HIGHER_IS_BETTER |= dict.fromkeys(("pq", "sq", "rq", "pq_things", "pq_stuff"), True)
HIGHER_IS_BETTER |= dict.fromkeys(("top_5", "within_11_25", "within_22_5", "within_30"), True)
"""The direction of every built-in metric; that of others is not known."""


def relative_gain(
    metrics: Mapping[str, Mapping[str, float]], baseline: Mapping[str, Mapping[str, float]]
) -> float:
    """Return the mean over tasks of the mean over metrics of (+/-)(M - B) / B.

    Args:
        metrics: Value by task and metric.
        baseline: The same of what is compared with; it must be given, no run stands in for it.

    Raises:
        UsageError: The two do not have the same tasks and metrics, a baseline is 0, or a metric's
            direction is not known.

    Source: Maninis et al. (2019), Attentive Single-Tasking of Multiple Tasks, equation (4).
    """
    if {t: set(m) for t, m in metrics.items()} != {t: set(m) for t, m in baseline.items()}:
        raise UsageError("delta-m needs the same tasks and metrics on both sides")
    gains = []
    for task, found in metrics.items():
        signed = []
        for name, value in found.items():
            base = baseline[task][name]
            if base == 0:
                raise UsageError(f"delta-m: {task} {name} of the baseline is 0")
            if name not in HIGHER_IS_BETTER:
                raise UsageError(f"delta-m: whether more {name} is better is not known")
            signed.append((value - base) / base * (1 if HIGHER_IS_BETTER[name] else -1))
        gains.append(statistics.fmean(signed))
    return statistics.fmean(gains)
